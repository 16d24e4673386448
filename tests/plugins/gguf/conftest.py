"""A small Llama whose rows are long enough for K-quants, as an ``hf-model``; GGUF files of it, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node

Compile = Callable[..., NodeRun]


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_llms

    folder = tmp_path_factory.mktemp("gguf") / "wide"
    tiny_llms.language_model(folder, layers=2, hidden_size=256, intermediate_size=256, initializer_range=0.06)
    return folder


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory, wide: Path) -> Compile:
    """Run the backend's compile function; equal settings run once."""
    from cbuild_gguf.settings import GgufSettings

    home = tmp_path_factory.mktemp("compiled")
    made: dict[str, NodeRun] = {}

    def compiled(model: Path = wide, **settings: Any) -> NodeRun:
        key = msgspec.json.encode([str(model), settings]).decode()
        if key not in made:
            typed = msgspec.convert({"pre-tokenizer": "gpt-2", **settings}, GgufSettings)
            out = home / f"out{len(list(home.iterdir()))}"
            made[key] = run_node("cbuild_gguf.compile:compile", artifact(model, "hf-model"), typed, out)
        return made[key]

    return compiled
