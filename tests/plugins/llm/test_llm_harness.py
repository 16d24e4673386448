"""``lm-choice`` beside lm-evaluation-harness itself: the same model, the same questions, and nothing of ours between.

It needs the package lm-eval, which is no dependency: ``pip install lm-eval``, in an environment of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from test_llm_choice import asked, questions, tokenized

lm_eval = pytest.importorskip("lm_eval", reason="the package lm-eval is not installed")
pytestmark = pytest.mark.slow


def by_the_harness(model: Path, file: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """(acc, acc_norm) of a task of its own, read from a local file."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place.mkdir()
    task = {
        "task": "asked",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(file)}, "cache_dir": str(place / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (place / "asked.yaml").write_text(yaml.safe_dump(task))
    stock = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    found: Any = lm_eval.simple_evaluate(
        model=HFLM(pretrained=stock, tokenizer=tokenizer, batch_size=1, add_bos_token=True),
        tasks=["asked"],
        task_manager=TaskManager(include_path=str(place), include_defaults=False),
        bootstrap_iters=0,
    )
    scores = found["results"]["asked"]
    return scores["acc,none"], scores["acc_norm,none"]


def test_it_scores_as_the_harness(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = questions()
    made = tokenized(tmp_path / "made", llama, lines)
    found = asked(llama, made.out, tmp_path / "plain")
    acc, norm = by_the_harness(llama, tmp_path / "made" / "asked.jsonl", tmp_path / "harness", monkeypatch)
    assert (found["acc"], found["acc_norm"]) == pytest.approx((acc, norm), abs=1e-12)
    assert acc != norm

    turned = [{**line, "answer": (line["answer"] + 1) % len(line["choices"])} for line in lines]
    other = tmp_path / "turned.jsonl"
    other.write_text("\n".join(map(json.dumps, turned)))
    assert by_the_harness(llama, other, tmp_path / "again", monkeypatch) != (acc, norm), "the harness reads the answers"
