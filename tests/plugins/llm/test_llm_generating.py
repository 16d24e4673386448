"""Generation token by token: what is timed, and whether two models write the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from cbuild_llm.model import generating
from cbuild_llm.model.runner import load as load_runner
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.scores.greedy import _repeated
from cbuild_llm.scores.params.greedy import Greedy
from cbuild_llm.speed import timing
from cbuild_llm.speed.params import Generating

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import make_context, run_node
from compressbuild.api.work import WorkInput


def test_a_model_writes_what_transformers_writes(tmp_path: Path, llama: Path) -> None:
    runner = load_runner(make_context(tmp_path / "run"), llama)
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    for ids in ([0, 17, 44, 90, 200, 5], [0, 300]):
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=24, min_new_tokens=24, do_sample=False)
        # generate() lets no end come before 24 tokens; ours may, so they are compared up to there
        made = generating.greedy(generating.generator(runner), ids, 24)
        until = made.index(1) if 1 in made else 24
        assert made[:until] == wanted[0, len(ids) :].tolist()[:until]
        assert until > 2


def test_agreement_is_that_of_two_loops(
    tmp_path: Path, project: Path, llama: Path, tokenized: Callable[..., WorkInput]
) -> None:
    other = project / "noisy"
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)), alpha=0.005)
    model.save_pretrained(other)
    transformers.AutoTokenizer.from_pretrained(llama).save_pretrained(other)
    ids = tokenized(tokens=200, context=32)
    params = Greedy(tokens="ids", source="chat", prompts=5, prompt=10, generate=12)
    found = run_node(
        "cbuild_llm.scores.greedy:agreement",
        artifact(other, "hf-model"),
        params,
        tmp_path / "out",
        inputs={"tokens": ids, "source": artifact(llama, "hf-model")},
        references={"ids": "tokens", "chat": "source"},
    ).facts

    def written(folder: Path) -> list[list[int]]:
        """Without a cache: the whole text is read for each token."""
        stock = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        texts = []
        for start in range(0, 200, 40):
            text = TokenIds.read(Path(ids.path)).ids[start : start + 10].tolist()
            for _ in range(12):
                with torch.no_grad():
                    text.append(int(stock(input_ids=torch.tensor([text])).logits[0, -1].argmax()))
            texts.append(text[10:])
        return texts

    pairs = list(zip(written(other), written(llama), strict=True))
    first = [next((at for at in range(12) if a[at] != b[at]), 12) for a, b in pairs]
    assert found["first"] == first
    assert found["value"] == pytest.approx(sum(first) / 60)
    assert 0 < found["value"] < 1
    assert found["same"] == sum(a == b for a, b in pairs)
    assert "low" not in found, "five prompts are too few"


def test_repetition_is_counted() -> None:
    assert _repeated([[1, 2, 3, 4, 5, 6, 7]]) == 0
    assert _repeated([[1] * 10]) == pytest.approx(6 / 7)


class Clocked:
    """A model that takes 2 s to read a prompt of 4 tokens, and half a second for each token."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[int] = []

    def start(self, ids: Sequence[int], room: int) -> np.ndarray:
        self.seen, self.now = list(ids), self.now + 0.5 * len(ids)
        return np.arange(8, dtype=np.float32)

    def step(self, token: int) -> np.ndarray:
        self.seen.append(token)
        self.now += 0.5
        return np.arange(8, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {"runtime": "clocked"}


@pytest.mark.parametrize(("name", "value"), [("first_token", 2000.0), ("prefill", 2.0), ("decode", 2.0)])
def test_what_is_timed(
    tmp_path: Path, tokenized: Callable[..., WorkInput], monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    model = Clocked()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: model.now)
    ids = tokenized(tokens=64, context=32)
    ctx = make_context(
        tmp_path / "out",
        params=Generating(tokens="ids", prompt=4, generate=3),
        inputs={"tokens": ids},
        references={"ids": "tokens"},
    )
    monkeypatch.setattr(type(ctx), "runner", lambda self, role: model)
    found = getattr(timing, name)(ctx, tmp_path, Generating(tokens="ids", prompt=4, generate=3))
    assert found["value"] == pytest.approx(value)
    assert (found["samples"], found["describe"]["runtime"]) == (5, "clocked")
    assert model.seen == [*TokenIds.read(Path(ids.path)).ids[:4].tolist(), *([7, 7] if name == "decode" else [])]


class Choosing(Clocked):
    """It chooses tokens itself, which takes a tenth of a second, and hands over no scores."""

    def likeliest(self, token: int) -> int:
        self.seen.append(token)
        self.now += 0.1
        return 5


def test_a_runtime_that_chooses_tokens_is_timed_so(
    tmp_path: Path, tokenized: Callable[..., WorkInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Choosing()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: model.now)
    params = Generating(tokens="ids", prompt=4, generate=3)
    inputs = {"tokens": tokenized(tokens=64, context=32)}
    ctx = make_context(tmp_path / "out", params=params, inputs=inputs, references={"ids": "tokens"})
    monkeypatch.setattr(type(ctx), "runner", lambda self, role: model)
    assert timing.decode(ctx, tmp_path, params)["value"] == pytest.approx(10.0)
    assert model.seen[4:] == [7, 5]


def test_too_few_ids_and_what_cannot_generate(tmp_path: Path, tokenized: Callable[..., WorkInput]) -> None:
    tokens = TokenIds.read(Path(tokenized(tokens=64, context=32).path))
    with pytest.raises(UserError, match="8 prompts of 10 tokens need 80, and there are 64"):
        generating.prompts(tokens, 8, 10)
    with pytest.raises(UserError, match="runs without a cache"):
        generating.generator(object())
