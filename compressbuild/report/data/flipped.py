"""The samples on which two targets differ: what both answered, and what the samples are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ...api import Preview
from ...digest import Digest
from ...evaluate.answers import Flip, flips
from ...evaluate.compare import Quality
from ...graph import Ask, TargetPlan
from ...plan import Plan
from ...project import Project
from ...store import Store
from .asked import asked

__all__ = ["MOST", "answered", "answers_of", "ask_samples", "known_samples", "look"]

MOST = 20
"""Samples that are shown of each way."""
_IMAGE = 64_000  # characters of a picture
_TEXT = 2000  # characters of a text
_PNG = b"\x89PNG\r\n\x1a\n"

Shown = dict[str, dict[str, str]]
"""Number of a sample → ``{"image": a PNG file in base64}``, ``{"text": …}``, or nothing."""


class Answers(NamedTuple):
    """A target's answers. ``output``: of the model, the one that is judged. ``size``: bytes."""

    artifact: Digest
    output: str | None
    size: int


def answers_of(project: Project, plan: Plan, target: TargetPlan, metric: str) -> Answers | None:
    """The answers that a metric read; None if the cache does not have them."""
    found = next((m for m in target.metrics if m.name == metric), None)
    if found is None or found.node is None or found.node not in plan.actions:
        return None
    node = project.graph.nodes[found.node]
    action = plan.actions[node.inputs["subject"]]
    if action.result is None or action.evicted:
        return None
    return Answers(action.result.output, node.params.get("output"), action.result.size)


def answered(store: Store, first: Answers | None, second: Answers | None, quality: Quality) -> tuple[Flip, ...]:
    """What both answered to the samples that flipped, as far as that is known."""
    if first is None or second is None:
        return ()
    samples = (*quality.lost, *quality.won)
    return flips(store, first.artifact, second.artifact, samples, quality.n, second.output)


def ask_samples(project: Project, name: str, metric: str, flipped: Sequence[Flip], quality: Quality) -> Ask | None:
    """For a preview of the first samples of each way. None where numbers of samples are not known to be those of the
    dataset, which :func:`answered` finds out."""
    known = {flip.sample for flip in flipped}
    numbers = [n for way in (quality.lost, quality.won) for n in way[:MOST] if isinstance(n, int) and n in known]
    plan = next((m for m in project.graph.targets[name].metrics if m.name == metric), None)
    if not numbers or plan is None or plan.node is None:
        return None
    record = project.registry.metrics.get(project.graph.nodes[plan.node].name)
    if record is None or record.name != metric:  # its parameters call it something else
        return None
    return Ask(record, name, alone=True, samples=tuple(sorted(numbers)))


def known_samples(project: Project, asks: Sequence[Ask]) -> dict[str, Shown | str | None]:
    """Target → what its samples are, or why that cannot be shown; None: nobody has looked. Runs nothing."""
    return {
        name: _shown(result) if isinstance(result, Mapping) else result for name, result in asked(project, asks).items()
    }


def look(project: Project, asks: Sequence[Ask]) -> dict[str, str]:
    """Have the samples shown, each once: a worker opens the dataset. Nothing else is built. Target → what failed."""
    from ...build.run import build_targets  # what executes, which looking does without
    from ...execute.events import Event, NodeFinished

    unknown = [name for name, found in known_samples(project, asks).items() if found is None]
    if not unknown:
        return {}
    errors: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.error:
            errors.append(f"{event.node}: {event.error}" + (f" ({event.hint})" if event.hint else ""))

    before = project.graph
    project.ask(*asks)
    try:
        report = build_targets(project, unknown, observers=[listen], keep_going=True, publish=False)
    finally:
        project.graph = before
    failed = [target for target in report.targets if target.status == "failed"]
    return {t.name: next((e for e in errors if e.startswith(f"{t.name}/")), t.reason) for t in failed}


def _shown(result: Mapping[str, Any]) -> Shown | str:
    """What a worker found, checked: it goes into a page."""
    try:
        found = msgspec.convert(result, Preview)
    except msgspec.ValidationError as error:
        return f"the preview of the samples is not one: {error}"
    shown: Shown = {}
    for sample in found.samples:
        if sample.image and not _is_png(sample.image):
            return f"the preview of sample {sample.sample} is no small PNG file"
        said = {"image": sample.image} if sample.image else {"text": sample.text[:_TEXT]} if sample.text else {}
        shown[str(sample.sample)] = said
    return shown


def _is_png(text: str) -> bool:
    try:
        return len(text) <= _IMAGE and base64.b64decode(text, validate=True).startswith(_PNG)
    except binascii.Error:
        return False
