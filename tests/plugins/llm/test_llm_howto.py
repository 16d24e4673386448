"""The how-to page of language models builds as written, on a tiny one. What it publishes loads with transformers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_llms
import torch
import transformers
from command import Work

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "llm.md"


def project(place: Path, number: int) -> Any:
    """A block of the page as a Compressfile, with fewer tokens, and what it names; the model."""
    text = re.findall(r"```yaml\n(version: 1\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]
    text = text.replace("tokens: 20000, context: 512, stride: 256", "tokens: 400, context: 64, stride: 32")
    text = text.replace("tokens: 20000", "tokens: 400, context: 64").replace("count: 6", "count: 1")
    assert "tokens: 400" in text
    assert "20000" not in text
    for name, start in (("test.txt", 60_000), ("train.txt", 70_000)):
        (place / name).write_text(tiny_llms.TEXT[start : start + 2_000], encoding="utf-8")
    (place / "Compressfile").write_text(text)
    return tiny_llms.language_model(place / "smollm2")


@pytest.mark.slow
def test_it_is_measured_on_another_runtime(tmp_path: Path) -> None:
    project(tmp_path, 1)
    Work(tmp_path)("all")
    measured = json.loads((tmp_path / "build" / "int8" / "metrics.json").read_text())["metrics"]
    assert 1e-6 < measured["lm-kl"]["value"] < 0.01
    assert (tmp_path / "build" / "int8" / "chat_template.jinja").is_file()


def test_it_builds_as_written(tmp_path: Path) -> None:
    model = project(tmp_path, 0)
    work = Work(tmp_path)
    work("all")

    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "build" / "shorter", moved)
    found = transformers.AutoModelForCausalLM.from_pretrained(moved, local_files_only=True)
    assert found.config.num_hidden_layers == model.config.num_hidden_layers - 1
    messages = [{"role": "user", "content": "def pool"}]
    tokenizer = transformers.AutoTokenizer.from_pretrained(moved, local_files_only=True)
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<user>def pool"
    ids = tokenizer("def pool", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == 0, "BOS"
    with torch.no_grad():
        assert found.generate(ids, max_new_tokens=4, do_sample=False).shape[1] == ids.shape[1] + 4

    measured = json.loads((tmp_path / "build" / "shorter" / "metrics.json").read_text())["metrics"]
    ratio = measured["lm-perplexity-ratio"]
    assert ratio["value"] == pytest.approx(measured["lm-perplexity"]["value"] / ratio["source_perplexity"], rel=1e-9)
    assert work("all", "--json").started == []

    (tmp_path / "smollm2" / "chat_template.jinja").write_text("{{ messages }}")
    again = set(work("all", "--json").started)
    assert {"chat/source", "shorter/prune.llm-layers"} <= again
    assert "shorter/lm-kl" not in again, "the same scores are not judged again"
    assert (tmp_path / "build" / "shorter" / "chat_template.jinja").read_text() == "{{ messages }}"


def test_four_bits_on_two_runtimes(tmp_path: Path) -> None:
    for module, wheel in (("auto_round", "auto-round"), ("cyllama", "cyllama")):
        pytest.importorskip(module, reason=f"the wheel {wheel} is not installed")
    project(tmp_path, 2)
    shutil.rmtree(tmp_path / "smollm2")
    tiny_llms.language_model(tmp_path / "smollm2", layers=2, hidden_size=64, intermediate_size=96)
    file = tmp_path / "Compressfile"
    text = file.read_text().replace("type: q4_k_m", "type: q4_k_m, pre-tokenizer: gpt-2")
    text = text.replace("tokens: calibration}", "tokens: calibration, iterations: 5}")
    text = text.replace("lm-greedy-agreement: {", "lm-greedy-agreement: {prompts: 2, prompt: 16, generate: 8, ")
    for name in ("first-token", "decode"):
        text = text.replace(f"lm-{name}: {{", f"lm-{name}: {{prompt: 16, generate: 8, ")
    file.write_text(text)
    work = Work(tmp_path)
    work("all")
    for target in ("int4", "gguf"):
        measured = json.loads((tmp_path / "build" / target / "metrics.json").read_text())["metrics"]
        assert measured["lm-perplexity-ratio"]["value"] == pytest.approx(1, abs=0.3)
        assert 0 < measured["lm-kl"]["value"] < 0.5
        assert measured["lm-decode"]["value"] > 0
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "build" / "int4", moved)
    assert transformers.AutoModelForCausalLM.from_pretrained(moved, local_files_only=True)
    assert work("all", "--json").started == []
