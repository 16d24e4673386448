"""Whether another runtime has the same language model as transformers: ids of texts, BOS, chat template and logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.fidelity import check_fidelity

from compressbuild.api import Context, Runner, UserError

from .loading import load_causal
from .probing import probes
from .runner import LlmRunner
from .serving import Engine

__all__ = [
    "MESSAGES",
    "TEXTS",
    "Known",
    "check_chat",
    "check_made",
    "check_source",
    "check_tokenizer",
    "source_answers",
]

TEXTS = (
    "The quick brown fox can't jump over 12 lazy dogs.",
    "def f(x):\n    return  x ** 2\t# 3.14159\n\n\n",
    "Größe, naïve café — 東京タワー 🦙🦙 Привет!!!",
    " leading and   inner spaces, IT'S we'LL 1234567890 ... ///",
)
MESSAGES = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4."},
    {"role": "user", "content": ' Größe <b>&</b> "quoted"\n\nlast line'},
)
_LIMIT = 1e-3  # of the largest logit: float32 on both sides, summed in another order
_SHOWN = "the hf-model"


@dataclass(frozen=True, slots=True)
class Known:
    """What the source answers: ids T and their logits T×V float32, of each case. The model itself is not kept, so that
    it and another runtime's are never in memory at once."""

    cases: list[tuple[np.ndarray, np.ndarray]]


def source_answers(ctx: Context, folder: Path, tokenizer: Any) -> Known:
    """The answers of the hf-model in ``folder`` for two texts, and for ids by chance of several lengths."""
    source: Any = load_causal(folder, _SHOWN)
    texts = [tokenizer(text)["input_ids"] for text in TEXTS[:2]]
    tried = [np.array(ids, np.int64) for ids in [*texts, *(ids[0].tolist() for ids in probes(source.config, ctx.seed))]]
    runner = LlmRunner(source)
    return Known([(ids, _answer(runner, ids)[0]) for ids in tried])


def check_source(known: Known, tokenizer: Any, engine: Engine, runtime: str, hint: str | None = None) -> dict[str, Any]:
    """Facts of the parity of a float32 ``engine`` with the hf-model whose answers are ``known``.

    ``runtime``: its name and version, for messages. ``hint``: what to do where the ids of a text differ.
    """
    check_tokenizer(engine, tokenizer, runtime, hint)
    error = _check_logits(engine, [(ids.tolist(), logits) for ids, logits in known.cases], runtime)
    return {"parity": {"max_error": error, "precision": "fp32", "cases": len(known.cases)}}


def check_made(ctx: Context, known: Known, made: Callable[[], Runner], *, what: str, causes: str) -> dict[str, Any]:
    """Facts of how far the compiled model is from the hf-model whose answers are ``known``: see
    ``cbuild_kit.fidelity``."""
    answers = {ids.tobytes(): logits[None] for ids, logits in known.cases}
    feeds = [{"input_ids": ids[None]} for ids, _ in known.cases]

    def original() -> Any:
        return lambda feed: {"logits": answers[feed["input_ids"].tobytes()]}

    return check_fidelity(ctx, original, made, feeds, what=what, causes=causes)


def check_tokenizer(engine: Engine, tokenizer: Any, runtime: str, hint: str | None = None) -> None:
    """UserError unless the runtime makes of every text the ids that transformers makes, from BOS on."""
    for text in TEXTS:
        wanted, found = tokenizer(text)["input_ids"], engine.tokenize(text)
        if wanted != found:
            at = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), -1)
            where = f"at {at}: {wanted[at]} and {found[at]}" if at >= 0 else f"{len(wanted)} and {len(found)} ids"
            raise UserError(
                f"parity: {runtime} makes other ids of {text[:20]!r} than the model's tokenizer ({where})", hint=hint
            )
    bos = tokenizer.bos_token_id
    if bos is not None and engine.bos != bos:
        raise UserError(f"parity: BOS is {engine.bos} in {runtime}, and {bos} in the tokenizer of the model")


def check_chat(render: Callable[[list[dict[str, str]]], str], tokenizer: Any, runtime: str) -> None:
    """UserError unless the runtime writes a conversation as the model's chat template does. ``render``: the runtime's
    text of messages, up to where the model answers. A model without a template passes."""
    if not tokenizer.chat_template:
        return
    messages = [dict(message) for message in MESSAGES]
    wanted = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    found = render(messages)
    if found != wanted:
        at = next(
            (i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found))
        )
        raise UserError(
            f"parity: {runtime} writes a conversation in another way than the model's chat template: "
            f"{found[at : at + 30]!r} where {wanted[at : at + 30]!r} is due",
            hint="the template uses something of Jinja that this runtime lacks",
        )


def _check_logits(engine: Engine, cases: Sequence[tuple[Sequence[int], np.ndarray]], runtime: str) -> float:
    """The largest difference, over the largest logit. UserError if it is more than rounding.

    ``cases``: ids and their logits T×V in the source. Each is run as a whole, and then token by token from the middle
    on, with the cache.
    """
    worst = 0.0
    for ids, wanted in cases:
        half = len(ids) // 2
        parts = [engine.logits(ids)[:, : wanted.shape[1]]]
        steps = [engine.start(ids[:half], len(ids)), *(engine.step(token) for token in ids[half:])]
        parts.append(np.stack(steps)[:, : wanted.shape[1]])
        for how, found, source in (("", parts[0], wanted), (", token by token", parts[1], wanted[half - 1 :])):
            error = float(np.abs(found - source).max() / np.abs(source).max())
            if not error <= _LIMIT:
                raise UserError(
                    f"parity: {runtime} gives other logits than transformers for {len(ids)} tokens{how}: they "
                    f"differ by {error:.2g} of the largest (allowed: {_LIMIT:g})",
                    hint="the conversion or the runtime does not follow this model's configuration",
                )
            worst = max(worst, error)
    return worst


def _answer(runner: LlmRunner, ids: np.ndarray) -> np.ndarray:
    """Logits 1×T×V of ids T."""
    return runner({"input_ids": ids[None], "attention_mask": np.ones_like(ids[None])})["logits"]
