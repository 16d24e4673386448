"""The how-to page of language models builds as written, on a tiny one. What it publishes loads with transformers."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny_llms
import torch
import transformers
from command import Work

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "llm.md"


def test_it_builds_as_written(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(version: 1\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    text = block[1].replace("tokens: 20000, context: 512, stride: 256", "tokens: 400, context: 64, stride: 32")
    text = text.replace("tokens: 20000", "tokens: 400, context: 64").replace("count: 6", "count: 1")
    assert text.count("tokens: 400") == 2
    model = tiny_llms.language_model(tmp_path / "smollm2")
    for name, start in (("test.txt", 60_000), ("train.txt", 70_000)):
        (tmp_path / name).write_text(tiny_llms.TEXT[start : start + 2_000], encoding="utf-8")
    (tmp_path / "Compressfile").write_text(text)
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
