"""A tiny Llama with its tokenizer, as an ``hf-model``, and token ids of a text; made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("transformers", reason="the models are those of transformers")

import tiny_llms
from cbuild_llm.params import Llm
from cbuild_llm.tokens.params import TokenizeText

from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``llama/``, a model of transformers, and ``text.txt``, which its tokenizer was not made of."""
    root = tmp_path_factory.mktemp("llm")
    tiny_llms.language_model(root / "llama")
    (root / "text.txt").write_text(tiny_llms.TEXT[60_000:68_000], encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def llama(project: Path) -> Path:
    """An ``hf-model`` of four layers."""
    return run_node("cbuild_llm.source:read", None, Llm(llm="llama"), project / "read", root=project).out


@pytest.fixture(scope="session")
def tokenized(project: Path, llama: Path) -> Callable[..., WorkInput]:
    """Token ids of the text, with the parameters of ``tokenize.text``."""
    made: dict[str, WorkInput] = {}

    def tokenized(**params: Any) -> WorkInput:
        name = msgspec.json.encode(params).decode()
        if name not in made:
            typed = msgspec.convert({"text": ["text.txt"], **params}, TokenizeText)
            out = project / f"ids{len(made)}"
            run_node("cbuild_llm.tokens.tokenize:tokenize", llama, typed, out, root=project)
            made[name] = artifact(out, "token-ids")
        return made[name]

    return tokenized


@pytest.fixture
def pruned(tmp_path: Path, llama: Path) -> Callable[..., NodeRun]:
    """Run ``prune.llm-layers`` on the Llama, or another model."""

    def pruned(model: Path = llama, tokens: WorkInput | None = None, **params: Any) -> NodeRun:
        from cbuild_llm.prune.params.layers import PruneLlmLayers

        typed = msgspec.convert({**params, **({"tokens": "ids"} if tokens else {})}, PruneLlmLayers)
        world = {"inputs": {"tokens": tokens}, "references": {"ids": "tokens"}} if tokens else {}
        out = tmp_path / f"pruned{len(list(tmp_path.iterdir()))}"
        return run_node("cbuild_llm.prune.layers:prune", artifact(model, "hf-model"), typed, out, **world)

    return pruned
