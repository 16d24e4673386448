"""Targets beside their baselines, for the report: the samples that flipped, and the operators of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ...evaluate.answers import Flip
from ...evaluate.compare import Quality, compare_quality, hits
from ...evaluate.results import Results
from ...graph import TargetPlan
from ...plan import Plan
from ...project import Project
from .flipped import MOST, Shown, answered, answers_of, ask_samples, known_samples, look
from .profiling import known_profiles, profiles_beside

__all__ = ["Baselines"]

Json = dict[str, Any]

_LARGEST = 100_000_000  # bytes of a target's answers: a report of many targets would read all of them


class Baselines:
    """What is found of each target beside its baseline."""

    def __init__(self, project: Project, plan: Plan) -> None:
        self._project = project
        self._plan = plan
        self._judged: dict[str, dict[str, Quality]] = {}  # target → metric → what flipped, as measured now

    def judge(self, target: TargetPlan, name: str, base: Mapping[str, Any] | None, own: Mapping[str, Any]) -> Json:
        """Whether the same samples show a difference from the baseline, where it is known which are right. ``lost``:
        those that only the baseline gets right; ``won``: those that only this one does."""
        if base is None or "hits" not in own or "hits" not in base or own.get("labels") != base.get("labels"):
            return {}
        found = compare_quality(name, hits(base) or [], hits(own) or [])
        if self._is_current(target.name, name, own) and self._is_current(target.baseline, name, base):
            self._judged.setdefault(target.name, {})[name] = found
        flipped = {
            way: {"count": len(samples), "samples": samples[:MOST]}
            for way, samples in (("lost", found.lost), ("won", found.won))
        }
        return {"paired": {"verdict": found.verdict, "p": found.p, "low": found.low, "high": found.high, **flipped}}

    def add_to(self, targets: Sequence[Json], quality: str | None, *, run: bool) -> None:
        """Give each target its ``flipped`` samples, by the metric ``quality`` or else another, and ``operators``.
        ``run``: have workers look at samples that nobody has seen yet."""
        graph = self._project.graph
        based = {t["name"]: t["baseline"] for t in targets if t["baseline"] in graph.targets}
        profiles = known_profiles(self._project, dict.fromkeys([*based, *based.values()]))
        flipped = {name: found for name in based if (found := self._flipped(name, based[name], quality)) is not None}
        asks = [
            ask
            for name, (judged, flips) in flipped.items()
            if (ask := ask_samples(self._project, name, judged.metric, flips, judged)) is not None
        ]
        failed = look(self._project, asks) if run else {}
        shown: dict[str, Shown | str | None] = dict.fromkeys(flipped, "those of this metric cannot be")
        shown |= {**known_samples(self._project, asks), **failed}
        for target in targets:
            name = target["name"]
            beside = profiles_beside(profiles[based[name]], profiles[name]) if name in based else None
            target["operators"] = msgspec.to_builtins(beside)
            target["flipped"] = _document(*flipped[name], shown.get(name)) if name in flipped else None

    def _is_current(self, name: str | None, metric: str, result: Mapping[str, Any]) -> bool:
        """Whether a result is that of the target as it is now, not only as it was published."""
        target = self._project.graph.targets.get(name or "")
        plan = next((m for m in target.metrics if m.name == metric), None) if target is not None else None
        found = Results.of_plan(self._project.store, self._plan).metric(plan) if plan is not None else None
        return found is not None and found.get("hits") == result["hits"]

    def _flipped(self, name: str, base: str, quality: str | None) -> tuple[Quality, tuple[Flip, ...]] | None:
        """By the metric ``quality``, or else the first by which any sample flipped whose answers are known."""
        judged = self._judged.get(name, {})
        for metric in sorted(judged, key=lambda each: each != quality):
            targets = [self._project.graph.targets[each] for each in (base, name)]
            made = [answers_of(self._project, self._plan, target, metric) for target in targets]
            if any(answers is not None and answers.size > _LARGEST for answers in made):
                continue
            if flips := answered(self._project.store, made[0], made[1], judged[metric]):
                return judged[metric], flips
        return None


def _document(judged: Quality, flips: Sequence[Flip], shown: Shown | str | None) -> Json:
    """``rows``: the samples that are shown, those lost first. ``said``: why none of them has a picture or text; None:
    some have, or nobody has looked, as ``looked`` says."""
    answers = {flip.sample: flip for flip in flips}
    rows = list(_rows(judged, answers, shown if isinstance(shown, dict) else {}))
    return {
        "metric": judged.metric,
        "counts": {"lost": len(judged.lost), "won": len(judged.won)},
        "rows": rows,
        "looked": shown is not None,
        "said": shown if isinstance(shown, str) else None,
    }


def _rows(judged: Quality, answers: Mapping[int, Flip], shown: Shown) -> Iterator[Json]:
    for way, samples in (("lost", judged.lost), ("won", judged.won)):
        for number in samples[:MOST]:
            if isinstance(number, int) and number in answers:
                flip = answers[number]
                both = {"label": flip.label, "first": flip.first, "second": flip.second}
                yield {"sample": number, "way": way, **both, **shown.get(str(number), {})}
