from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.compressfile.spec import Spec
from compressbuild.errors import CompressfileError

HEAD = """\
version: 1
models:
  net: {factory: net:build, inputs: {x: {shape: [batch, 8]}}}
datasets:
  test: {loader: data:test}
  calib: {loader: data:calib}
platforms:
  cpu: {backend: onnxruntime}
  gpu: {backend: tensorrt}
"""


@pytest.fixture
def spec() -> Callable[..., Spec]:
    """Load a text after a head that declares a model, datasets and platforms."""

    def load(text: str, *overrides: str, head: str = HEAD) -> Spec:
        return loads(head + text, Path("Compressfile"), overrides)

    return load


@pytest.fixture
def refused(spec: Callable[..., Spec]) -> Callable[..., list[str]]:
    """The messages of a text that must not load."""

    def load(text: str, *overrides: str, head: str = HEAD) -> list[str]:
        with pytest.raises(CompressfileError) as caught:
            spec(text, *overrides, head=head)
        return [found.message for found in caught.value.diagnostics]

    return load
