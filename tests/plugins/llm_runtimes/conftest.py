"""A small Llama as an ``hf-model``, and what each runtime's backend makes of it, each made once."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("transformers", reason="the models are those of transformers")

from runtimes import RUNTIMES

from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_llms

    folder = tmp_path_factory.mktemp("runtimes") / "small"
    sizes = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.06, "tie_word_embeddings": True}
    tiny_llms.language_model(folder, layers=2, **sizes)
    return folder


@pytest.fixture(params=sorted(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> Any:
    found = RUNTIMES[request.param]
    for module in found.modules:
        pytest.importorskip(module, reason=f"{module} is not installed")
    return found


@pytest.fixture(scope="session")
def made_by(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Callable[..., NodeRun]:
    """Run a backend's compile function; equal settings run once."""
    home = tmp_path_factory.mktemp("compiled")
    made: dict[str, NodeRun] = {}

    def made_by(runtime: Any, settings: dict[str, Any], model: Path = small) -> NodeRun:
        key = msgspec.json.encode([runtime.backend, str(model), settings]).decode()
        if key not in made:
            record = next(iter(import_module(f"{runtime.plugin}.manifest").compressbuild_backends()))
            out = home / f"out{len(list(home.iterdir()))}"
            typed = msgspec.convert(settings, record.settings)
            made[key] = run_node(record.compile, artifact(model, "hf-model"), typed, out)
        return made[key]

    return made_by
