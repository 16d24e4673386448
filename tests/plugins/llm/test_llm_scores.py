"""What is measured of language models on token ids, beside loops that compute it another way."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import tiny_llms
import torch
import transformers
from cbuild_llm.model.logits import logits
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.model.token_scores import TokenScores
from cbuild_llm.scores.intervals import mean_of
from cbuild_llm.scores.params.paired import Paired
from cbuild_llm.scores.params.perplexity import Perplexity
from cbuild_llm.scores.params.scores import TokenScores as Params

from compressbuild.api import ModelInput, UserError
from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput


def scored(subject: Path, tokens: WorkInput, out: Path, source: Path | None = None) -> NodeRun:
    inputs = {"tokens": tokens}
    if source is not None:
        inputs["source"] = artifact(source, "hf-model")
    params = Params(tokens="ids", source="chat" if source is not None else None)
    return run_node(
        "cbuild_llm.scores.score:score",
        artifact(subject, "hf-model"),
        params,
        out,
        inputs=inputs,
        references={"ids": "tokens", "chat": "source"},
    )


def measured(name: str, scores: Path, place: Path) -> dict[str, Any]:
    params = Perplexity(tokens="ids") if name == "perplexity" else Paired(tokens="ids", source="chat")
    return run_node(f"cbuild_llm.scores.measure:{name}", scores, params, place / name).facts


@pytest.fixture(scope="session")
def other(project: Path) -> Path:
    """The Llama with noise on its weights, which often has another likeliest token."""
    model = tiny_llms.language_model(project / "other")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)), alpha=0.03)
    model.save_pretrained(project / "other")
    return project / "other"


def stock(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def by_definition(model: Any, tokens: TokenIds) -> list[tuple[int, np.ndarray]]:
    """(id, log-probabilities of all ids) of each id that is predicted, each from its whole context, one by one."""
    found = []
    done = 0
    for start in range(0, len(tokens.ids), tokens.stride):
        end = min(start + tokens.context, len(tokens.ids))
        for position in range(max(done, start + 1, 1), end):
            with torch.no_grad():
                seen = torch.tensor(tokens.ids[start:position].astype(np.int64))[None]
                logs = model(input_ids=seen).logits[0, -1].double().log_softmax(-1).numpy()
            found.append((int(tokens.ids[position]), logs))
        done = end
        if end == len(tokens.ids):
            break
    return found


@pytest.mark.parametrize(("context", "stride"), [(24, 8), (24, 24), (24, 17), (200, 50)])
def test_each_number_is_that_of_a_loop_over_tokens(
    tmp_path: Path, llama: Path, other: Path, tokenized: Callable[..., WorkInput], context: int, stride: int
) -> None:
    """``other`` is the source: so both directions of the divergence differ."""
    ids = tokenized(tokens=90, context=context, stride=stride)
    made = scored(llama, ids, tmp_path / "out", other)
    own, known = (by_definition(stock(folder), TokenIds.read(Path(ids.path))) for folder in (llama, other))
    nll = np.array([-logs[token] for token, logs in own])
    source_nll = np.array([-logs[token] for token, logs in known])
    kl = np.array([float((np.exp(q) * (q - p)).sum()) for (_, p), (_, q) in zip(own, known, strict=True)])
    same = np.array([p.argmax() == q.argmax() for (_, p), (_, q) in zip(own, known, strict=True)])
    assert made.facts["tokens"] == len(nll)
    assert measured("perplexity", made.out, tmp_path)["value"] == pytest.approx(math.exp(nll.mean()), rel=1e-5)
    ratio = measured("perplexity_ratio", made.out, tmp_path)
    assert ratio["value"] == pytest.approx(math.exp(nll.mean() - source_nll.mean()), rel=1e-5)
    assert ratio["source_perplexity"] == pytest.approx(math.exp(source_nll.mean()), rel=1e-5)
    divergence = measured("kl_divergence", made.out, tmp_path)
    assert divergence["value"] == pytest.approx(kl.mean(), rel=1e-4)
    assert divergence["max"] == pytest.approx(kl.max(), rel=1e-4)
    agreement = measured("same_top", made.out, tmp_path)
    assert agreement["value"] == same.mean()
    assert 0 < same.mean() < 1
    for each in (ratio, divergence, agreement):
        assert each["low"] <= each["value"] <= each["high"]
        assert each["low"] < each["high"]


def test_perplexity_is_as_transformers_documents_it(
    tmp_path: Path, llama: Path, tokenized: Callable[..., WorkInput]
) -> None:
    """The loop of their page "Perplexity of fixed-length models"; it weighs a window by one token too few."""
    ids = tokenized(tokens=600, context=64, stride=32)
    encoded = torch.tensor(TokenIds.read(Path(ids.path)).ids.astype(np.int64))[None]
    model = stock(llama)
    sum_of_nll, count, before = 0.0, 0, 0
    for begin in range(0, encoded.size(1), 32):
        end = min(begin + 64, encoded.size(1))
        target = encoded[:, begin:end].clone()
        target[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = model(encoded[:, begin:end], labels=target).loss
        tokens = int((target != -100).sum()) - 1
        sum_of_nll, count, before = sum_of_nll + float(loss) * tokens, count + tokens, end
        if end == encoded.size(1):
            break
    value = measured("perplexity", scored(llama, ids, tmp_path / "out").out, tmp_path)["value"]
    assert value == pytest.approx(math.exp(sum_of_nll / count), rel=0.01)


def test_a_model_beside_itself(tmp_path: Path, llama: Path, tokenized: Callable[..., WorkInput]) -> None:
    out = scored(llama, tokenized(tokens=90, context=24, stride=8), tmp_path / "out", llama).out
    assert measured("perplexity_ratio", out, tmp_path)["value"] == 1
    assert measured("kl_divergence", out, tmp_path)["max"] == 0
    same = measured("same_top", out, tmp_path)
    assert same["value"] == 1
    assert same["low"] == pytest.approx(0.05 ** (1 / 89)), "89 tokens alike do not prove that all are"


def test_no_logits_are_kept(tmp_path: Path, llama: Path, tokenized: Callable[..., WorkInput]) -> None:
    made = scored(llama, tokenized(tokens=600, context=64, stride=32), tmp_path / "out", llama)
    count = made.facts["tokens"]
    assert sum(path.stat().st_size for path in made.out.iterdir()) < 32 * count + 2000 < 4 * 320 * count


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Means of series whose neighbours are alike: an interval that took them as independent would cover about half."""
    runs, length = 200, 64 * 60
    noise = np.random.default_rng(0).standard_normal((length, runs))
    series = np.zeros((length, runs))
    for index in range(1, length):
        series[index] = 0.8 * series[index - 1] + noise[index]
    found = [mean_of(series[:, run], run) for run in range(runs)]
    covered = sum(each.low <= 0 <= each.high for each in found)
    assert 0.88 <= covered / runs <= 0.99


def test_too_few_tokens_for_an_interval(tmp_path: Path, llama: Path, tokenized: Callable[..., WorkInput]) -> None:
    out = scored(llama, tokenized(tokens=6, context=24, stride=8), tmp_path / "out").out
    with pytest.raises(UserError, match="cannot be had of 5 tokens"):
        measured("perplexity", out, tmp_path)


def test_a_pass_without_a_source_compares_nothing(
    tmp_path: Path, llama: Path, tokenized: Callable[..., WorkInput]
) -> None:
    out = scored(llama, tokenized(tokens=90, context=24, stride=8), tmp_path / "out").out
    assert list(TokenScores.read(out).arrays) == ["nll", "top"]
    with pytest.raises(UserError, match="of one model alone"):
        measured("same_top", out, tmp_path)


def test_ids_of_another_kind(tmp_path: Path, llama: Path) -> None:
    with pytest.raises(UserError, match="is a hf-model, where token ids are needed"):
        scored(llama, artifact(llama, "hf-model"), tmp_path / "out")


# -- other runtimes --------------------------------------------------------------------------------------------------


class Stub:
    """A Runner that keeps what it was fed last."""

    def __init__(self, answer: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], **shapes: Any) -> None:
        self.inputs = tuple(ModelInput(name, shape, "int64") for name, shape in shapes.items())
        self._answer = answer
        self.fed: dict[str, np.ndarray] = {}

    def __call__(self, feeds: Any) -> dict[str, np.ndarray]:
        self.fed = dict(feeds)
        return self._answer(self.fed)

    def describe(self) -> dict[str, Any]:
        return {}


IDS = np.array([3, 1, 4, 1, 5], np.int32)


def table(name: str = "logits", width: int = 8) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Logits of a token: a row of a table by its id, so any shift or mix of rows shows."""
    rows = np.random.default_rng(0).standard_normal((16, width)).astype(np.float32)
    return lambda feeds: {name: rows[feeds["input_ids"]]}


@pytest.mark.parametrize("length", ["sequence", 8])
def test_a_model_of_fixed_length_gets_the_window_filled_up(length: Any) -> None:
    shape = ("batch", length) if isinstance(length, str) else (1, length)
    runner = Stub(table(), input_ids=shape, attention_mask=shape, position_ids=shape)
    np.testing.assert_array_equal(logits(runner, IDS), table()({"input_ids": IDS})["logits"])
    feeds = runner.fed
    assert feeds["attention_mask"].tolist() == [[1] * 5 + [0] * (feeds["input_ids"].shape[1] - 5)]
    assert feeds["position_ids"].tolist() == [list(range(feeds["input_ids"].shape[1]))]


@pytest.mark.parametrize(
    ("inputs", "answer", "message"),
    [
        ({"pixel_values": ("batch", 3)}, table(), "takes pixel_values"),
        ({"input_ids": (4, "n")}, table(), "takes 4 sequences at once"),
        ({"input_ids": (1, 4)}, table(), "takes 4 tokens, but a window has 5"),
        ({"input_ids": (1, "n")}, table(width=5), "scores 5 tokens, but the ids go up to 5"),
        ({"input_ids": (1, "n")}, lambda feeds: {"x": np.ones((1, 8), np.float32)}, "no score of each token"),
        ({"input_ids": (1, "n")}, lambda feeds: {"x": np.full((1, 5, 8), np.nan, np.float32)}, "not finite"),
    ],
)
def test_what_is_no_language_model_is_refused(inputs: Any, answer: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        logits(Stub(answer, **inputs), IDS)


# -- token ids -------------------------------------------------------------------------------------------------------


def test_ids_are_those_of_the_tokenizer(project: Path, tokenized: Callable[..., WorkInput]) -> None:
    whole = tiny_llms.tokenizer()((project / "text.txt").read_text(encoding="utf-8"))["input_ids"]
    found = TokenIds.read(Path(tokenized(context=24).path))
    assert found.ids.tolist() == whole
    assert (whole[0], found.stride) == (0, 12)
    part = TokenIds.read(Path(tokenized(skip=10, tokens=20, context=24, special=False).path))
    assert part.ids.tolist() == whole[11:31]


def test_a_text_that_is_too_short(tokenized: Callable[..., WorkInput]) -> None:
    with pytest.raises(UserError, match="tokens are left of"):
        tokenized(skip=100_000)


def test_windows_that_leave_tokens_out_are_refused(tokenized: Callable[..., WorkInput]) -> None:
    with pytest.raises(msgspec.ValidationError, match="tokens between the windows"):
        tokenized(context=8, stride=9)
