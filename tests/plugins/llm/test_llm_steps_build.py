"""The steps of language models through ``cbuild all``: recorded, distilled, finetuned, narrowed, made sparse, asked."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_llms
import torch
import transformers
from command import Work

TEXT = """\
version: 1
models: {chat: {llm: models/chat}}
targets:
  training:
    from: chat
    steps: [tokenize.text: {text: [training.txt], tokens: 512, context: 32, stride: 32}]
    evaluate: false
  teacher:
    from: chat
    steps: [record.logits: {tokens: training, top: 64}]
    evaluate: false
  questions:
    from: chat
    steps: [tokenize.choices: {file: questions.jsonl}]
    evaluate: false
  shorter:
    from: chat
    steps:
      - prune.llm-layers: {count: 1, tokens: training}
      - distill.llm: {tokens: training, teacher: teacher, lr: 1e-4}
    evaluate: {metrics: [lm-choice: {questions: questions}]}
  narrower:
    from: chat
    steps:
      - prune.llm-width: {tokens: training, intermediate: 48}
      - finetune.llm: {tokens: training}
    evaluate: {metrics: [lm-choice: {questions: questions}]}
  sparse:
    from: chat
    steps: [prune.llm-weights: {tokens: training, method: sparsegpt}]
    evaluate: false
"""
QUESTION = {"context": "The quick brown", "choices": ["fox", "lazy dog"], "answer": 0}


def test_they_build_and_load_without_us(tmp_path: Path) -> None:
    whole = tiny_llms.language_model(tmp_path / "models" / "chat")
    (tmp_path / "training.txt").write_text(tiny_llms.TEXT[:4_000], encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text(f"{json.dumps(QUESTION)}\n" * 3)
    (tmp_path / "Compressfile").write_text(TEXT)
    Work(tmp_path)("all")

    def loaded(target: str) -> transformers.PreTrainedModel:
        return transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "build" / target, local_files_only=True)

    assert loaded("shorter").config.num_hidden_layers == whole.config.num_hidden_layers - 1
    assert loaded("narrower").config.intermediate_size == 48
    zeros = [float((layer.mlp.up_proj.weight == 0).float().mean()) for layer in loaded("sparse").model.layers]
    assert all(abs(share - 0.5) < 0.01 for share in zeros)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert all(loaded(target)(ids).logits.isfinite().all() for target in ("shorter", "narrower", "sparse"))
    asked = json.loads((tmp_path / "build" / "shorter" / "metrics.json").read_text())["metrics"]["lm-choice"]
    assert 0 <= asked["value"] <= 1
