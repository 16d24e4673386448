"""How a metric's inputs are loaded: run by their backend or kind, or counted by a census."""

from __future__ import annotations

from ..api import AnswerMetric, ArtifactMetric, Metric, RunMetric
from ..platforms import lacking
from .compiling import counted_with, run_with
from .draft import Draft
from .node import RunWith

__all__ = ["add_loads", "beside"]


def add_loads(draft: Draft, record: Metric, subject: int, model: int, run: dict[str, RunWith]) -> str:
    """Add how the inputs are run or counted to ``run``. Returns why that cannot be, or an empty string."""
    kind, kind_of_model = draft.nodes[subject].kind, draft.nodes[model].kind
    if isinstance(record, AnswerMetric | RunMetric):
        with_ = run_with(draft, subject)
        if with_ is None:
            return f"a {kind} cannot be run"
        if with_.missing:
            return f"built, not measured here: {lacking(with_.missing)}"
        run["subject"] = with_
    if isinstance(record, AnswerMetric):
        return ""
    if isinstance(record, RunMetric) and record.model and kind_of_model not in record.model:
        return f"does not apply to {kind_of_model}"
    if isinstance(record, ArtifactMetric | RunMetric):
        if record.kinds and kind not in record.kinds:
            return f"does not apply to {kind}"
        if record.census:
            counted = ("subject", subject) if isinstance(record, ArtifactMetric) else ("model", model)
            return _counts(draft, *counted, run)
    if isinstance(record, ArtifactMetric) and record.of == "model":
        of_model = run_with(draft, model)
        if of_model is not None and not of_model.missing:
            run["subject"] = of_model  # not to be measured: its libraries are what reads it
    return ""


def beside(draft: Draft, index: int, subject: RunWith) -> RunWith | None:
    """How the output of a node is run in one process with the subject; None: it cannot be, here or in that
    environment."""
    found = run_with(draft, index)
    apart = found is None or found.missing or found.environment != subject.environment
    return None if apart else found


def _counts(draft: Draft, role: str, index: int, run: dict[str, RunWith]) -> str:
    """As ``add_loads``, for the input that a census counts."""
    census = counted_with(draft, index)
    if census is None:
        return f"does not apply to {draft.nodes[index].kind}"
    if census.missing:
        return f"not measured here: {lacking(census.missing)}"
    run[role] = census
    return ""
