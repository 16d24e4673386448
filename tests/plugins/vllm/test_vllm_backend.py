"""The backend ``vllm``: directories that transformers loads with the same logits, and that say vLLM was not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="the models are those of transformers")

import tiny_llms
import torch
import transformers
from cbuild_llm.quantize.params import QuantizeLlm
from cbuild_vllm import compile as compiling
from cbuild_vllm.artifact import validate
from cbuild_vllm.settings import VllmSettings
from command import Work
from safetensors.torch import load_file

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node

IDS = torch.arange(24)[None] * 7 % 320


def compiled(model: Path, out: Path, kind: str = "hf-model", dtype: str = "as-is") -> NodeRun:
    return run_node("cbuild_vllm.compile:compile", artifact(model, kind), VllmSettings(dtype=dtype), out)


def logits(folder: Path) -> np.ndarray:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    with torch.no_grad():
        return model.eval()(IDS).logits.numpy()


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("vllm") / "chat"
    tiny_llms.language_model(place, layers=2, hidden_size=64, max_shard_size="60kB")
    return place


def test_every_file_is_the_source_s(chat: Path, tmp_path: Path) -> None:
    made = compiled(chat, tmp_path / "out")
    validate(made.out)
    assert {p.name: p.read_bytes() for p in made.out.iterdir()} == {p.name: p.read_bytes() for p in chat.iterdir()}
    assert made.facts["tensors"] == {"F32": len(tensors(chat))}


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_converted_each(chat: Path, tmp_path: Path, dtype: str) -> None:
    made = compiled(chat, tmp_path / "out", dtype=dtype)
    validate(made.out)
    before, after = tensors(chat), tensors(made.out)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value.to(getattr(torch, dtype))) for name, value in before.items())
    assert transformers.AutoConfig.from_pretrained(made.out).dtype == getattr(torch, dtype)
    wanted, found = logits(chat), logits(made.out)
    noise = 10 * np.log10((wanted**2).mean() / ((found - wanted) ** 2).mean())
    assert noise > 25
    assert min(made.facts["sqnr_db"].values()) > 20


@pytest.mark.parametrize("form", ["compressed-tensors", "gptq", "awq"])
def test_packed_weights_stay_packed(chat: Path, tmp_path: Path, form: Any) -> None:
    pytest.importorskip("auto_round")
    params, source = QuantizeLlm(format=form), artifact(chat, "hf-model")
    place = run_node("cbuild_llm.quantize.rounding:quantize", source, params, tmp_path / "q")
    made = compiled(place.out, tmp_path / "out", "hf-quantized")
    validate(made.out)
    ends = "weight_packed" if form == "compressed-tensors" else "qweight"
    assert sum(name.endswith(ends) for name in tensors(made.out)) == 14
    assert {p.name: p.read_bytes() for p in made.out.iterdir()} == {p.name: p.read_bytes() for p in place.out.iterdir()}
    if form == "compressed-tensors":  # the others need gptqmodel
        np.testing.assert_array_equal(logits(made.out), logits(place.out))
    with pytest.raises(UserError, match="packed already"):
        compiled(place.out, tmp_path / "other", "hf-quantized", dtype="bfloat16")


def test_weights_that_the_type_cannot_hold(chat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion that makes another model is refused: here one that mixes up the rows."""
    genuine = compiling.write_narrower
    monkeypatch.setattr(
        compiling,
        "write_narrower",
        lambda folder, found, config, change, out: genuine(
            folder, found, config, lambda name, tensor: change(name, tensor.flip(0)), out
        ),
    )
    with pytest.raises(UserError, match="dtype bfloat16 damaged the model"):
        compiled(chat, tmp_path / "out", dtype="bfloat16")


def test_it_is_published_and_says_that_it_was_not_run(chat: Path, tmp_path: Path) -> None:
    work = Work(tmp_path / "project")
    (work.root / "models").mkdir()
    (work.root / "models" / "chat").symlink_to(chat)
    (work.root / "text.txt").write_text(tiny_llms.TEXT[:2000], encoding="utf-8")
    work.write(
        "Compressfile",
        """\
version: 1
models: {chat: {llm: models/chat}}
platforms: {server: {backend: vllm, dtype: bfloat16}}
evaluate: {metrics: [size, lm-perplexity: {tokens: ids}]}
targets:
  ids:
    from: chat
    steps: [tokenize.text: {text: [text.txt], tokens: 128, context: 32, stride: 32}]
    evaluate: false
  served: {from: chat, platform: server}
""",
    )
    said = work("all").text
    assert "not measured: served (lm-perplexity): built, not measured here: needs a server of vLLM" in said
    assert (work.root / "build" / "served" / "chat_template.jinja").is_file()
