"""Gates that were not met: which limit, by how much, and why."""

from __future__ import annotations

from collections.abc import Sequence

from ...build.outcome import TargetReport
from ...evaluate.gates import Verdict
from .columns import columns

__all__ = ["gate_words", "missed_table", "said"]


def gate_words(metric: str, limit: str, bound: float, against: str | None) -> str:
    """``size: max-ratio 0.1 of cpu-fp32``."""
    return f"{metric}: {limit} {bound:g}" + (f" of {against}" if against else "")


def said(verdict: Verdict) -> tuple[str, str, str]:
    """What was measured, with its interval; by how much it is beyond the limit, or within it; why."""
    if verdict.value is None:
        return "–", "–", verdict.reason
    interval = f" [{verdict.low:.3g}–{verdict.high:.3g}]" if verdict.low is not None else ""
    margin = f"{abs(verdict.margin):.3g}" if verdict.margin is not None else "–"
    return f"{verdict.value:.4g}{interval}", margin, verdict.reason


def missed_table(targets: Sequence[TargetReport]) -> list[str]:
    """Lines of a table: a row for each limit that was not met; none where all were."""
    rows = [
        (target.name, gate_words(v.metric, v.limit, v.bound, v.against), *said(v)[:2], v.verdict, said(v)[2])
        for target in targets
        for v in target.verdicts
        if not v.ok
    ]
    return columns([("target", "gate", "got", "off by", "verdict", ""), *rows], right=(3,)) if rows else []
