"""``tokenize.choices`` and ``lm-choice``: beside a loop of transformers with the rules of lm-evaluation-harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model.token_choices import TokenChoices
from cbuild_llm.scores import choice
from cbuild_llm.scores.intervals import share_of
from cbuild_llm.scores.params.choice import Choice
from cbuild_llm.tokens.params_choices import TokenizeChoices

from compressbuild.api import UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node


def questions() -> list[dict[str, Any]]:
    """Of 40 places in the text: what follows, among what follows other places; of several lengths."""
    generator, text, made = np.random.default_rng(0), tiny_llms.TEXT[60_000:], []
    for index in range(40):
        starts = generator.integers(0, 20_000, 3 + index % 2)
        sizes = generator.integers(2, 14, len(starts))
        choices = [text[at : at + size] for at, size in zip(starts, sizes, strict=True)]
        gap = "  " if index % 5 == 0 else ""
        made.append(
            {"context": text[starts[0] - 60 : starts[0]].strip() + gap, "choices": choices, "answer": index % 3}
        )
    return [each for each in made if all(part.strip() for part in each["choices"])]


def tokenized(place: Path, model: Path, lines: list[Any], **params: Any) -> NodeRun:
    place.mkdir(exist_ok=True)
    (place / "asked.jsonl").write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    typed = TokenizeChoices(file="asked.jsonl", **params)
    return run_node("cbuild_llm.tokens.choices:tokenize", model, typed, place / "ids", root=place)


def asked(model: Path, ids: Path, out: Path, **params: Any) -> dict[str, Any]:
    world = {"inputs": {"questions": artifact(ids, "token-choices")}, "references": {"asked": "questions"}}
    typed = Choice(questions="asked", **params)
    return run_node("cbuild_llm.scores.choice:choice", artifact(model, "hf-model"), typed, out, **world).facts


def by_the_rules(model: Path, lines: list[dict[str, Any]]) -> tuple[float, float]:
    """(acc, acc_norm): the text is split as the harness splits it, and one token is read after the other."""
    stock = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    right = [0, 0]
    for line in lines:
        scores = []
        for text in line["choices"]:
            context, continuation = line["context"], " " + text
            spaces = len(context) - len(context.rstrip())
            if spaces:
                context, continuation = context[:-spaces], context[-spaces:] + continuation
            whole, start = tokenizer.encode(context + continuation), len(tokenizer.encode(context))
            total = 0.0
            for at in range(start, len(whole)):
                with torch.no_grad():
                    rows = stock(input_ids=torch.tensor([whole[:at]])).logits[0, -1].double()
                total += float(rows.log_softmax(-1)[whole[at]])
            scores.append(total)
        right[0] += int(np.argmax(scores)) == line["answer"]
        right[1] += int(np.argmax(np.array(scores) / [len(text) for text in line["choices"]])) == line["answer"]
    return right[0] / len(lines), right[1] / len(lines)


def test_it_is_scored_as_the_harness_scores(tmp_path: Path, llama: Path) -> None:
    lines = questions()
    made = tokenized(tmp_path / "made", llama, [*lines, ""])
    assert made.facts["questions"] == len(lines)
    found = asked(llama, made.out, tmp_path / "plain")
    acc, norm = by_the_rules(llama, lines)
    assert (found["acc"], found["acc_norm"], found["value"]) == (acc, norm, acc)
    assert acc != norm, "the two differ, so one is not taken for the other"
    assert asked(llama, made.out, tmp_path / "norm", normalized=True)["value"] == norm
    assert found["low"] < acc < found["high"]
    chance = np.mean([1 / len(line["choices"]) for line in lines])
    assert (found["n"], found["chance"]) == (len(lines), pytest.approx(chance))


def test_a_likelihood_one_token_off_is_seen(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: rows are those of the tokens themselves, and not of what comes before them."""
    lines = questions()
    made = tokenized(tmp_path / "made", llama, lines)
    monkeypatch.setattr(choice, "_ids", lambda context, ids: np.array([*context, *ids], np.int64))
    found = asked(llama, made.out, tmp_path / "plain")
    assert (found["acc"], found["acc_norm"]) != by_the_rules(llama, lines)


def test_an_empty_context_is_bos(tmp_path: Path, llama: Path) -> None:
    line = {"context": "", "choices": ["def", "return"], "answer": 0}
    for special in (True, False):
        made = tokenized(tmp_path / str(special), llama, [line], special=special)
        question = TokenChoices.read(made.out).questions[0]
        assert question.context == [0]
        assert question.choices[0] == tiny_llms.tokenizer().encode(" def", add_special_tokens=False)
        assert question.lengths == [3, 6]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"asked\.jsonl:2: not JSON"),
        ({"choices": ["a", "b"], "answer": 0}, "'context' must be text"),
        ({"context": "a", "choices": ["a"], "answer": 0}, "two or more"),
        ({"context": "a", "choices": ["a", "b"], "answer": 2}, "'answer' must be a position"),
        ([1], "'context' must be text"),
    ],
)
def test_a_line_that_is_no_question(tmp_path: Path, llama: Path, line: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tokenized(tmp_path / "made", llama, [{"context": "a", "choices": ["b", "c"], "answer": 0}, line])


def test_damaged_questions(tmp_path: Path, llama: Path) -> None:
    made = tokenized(tmp_path / "made", llama, questions())
    file = made.out / "choices.json"
    said = json.loads(file.read_text())
    for change in ({"vocabulary": 5}, {"questions": []}, {"questions": [{"context": [1]}]}):
        file.write_text(json.dumps({**said, **change}))
        with pytest.raises(ValueError, match=r"damaged|without an answer"):
            TokenChoices.read(made.out)


def test_the_interval_of_independent_shares() -> None:
    """It covers the true share about as often as it says; of few there is none; of all alike it is no point."""
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        values = (generator.random(60) < 0.7).astype(float)
        found = share_of(values, seed)
        covered += found["low"] <= 0.7 <= found["high"]
    assert 0.88 <= covered / 200 <= 0.99
    assert share_of(np.ones(7), 0) == {"value": 1.0, "n": 7}
    assert share_of(np.ones(10), 0) == {"value": 1.0, "n": 10, "low": pytest.approx(0.05**0.1), "high": 1.0}
    assert share_of(np.zeros(10), 0)["high"] == pytest.approx(1 - 0.05**0.1)
