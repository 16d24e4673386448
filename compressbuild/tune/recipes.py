"""The search over recipes and runtimes. Every candidate is a target of one Compressfile, built and measured as any
other. The best that keeps its gates is chosen, with why each of the others lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..errors import NodeFailed
from ..evaluate.compare import compare_quality, hits
from ..evaluate.concerns import NEGLIGIBLE
from ..evaluate.gates import Verdict
from ..execute.events import Observer
from ..platforms import lacking
from ..project import Project
from ..starter.candidates import Candidate
from ..starter.choices import SPEED, Goal
from .stages import Ended, judged
from .trials import Objective, Trial, best

__all__ = ["Contest", "Entry", "Outcome", "decide", "spoken"]

_ALIKE = 0.05  # of the time: as much is worth less than what else a candidate is better in


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that came to an end. ``quality``: its value; ``lost``: the 95 % interval of what it loses to the
    baseline, on the same samples; ``speed``: ratio to the baseline, with its 95 % interval ``fastest`` to ``slowest``;
    ``size`` in bytes; None: not measured. ``unsure``: its value keeps the gate, and ``lost`` reaches beyond it.
    ``reason``: why it is not ``kept``."""

    number: int
    candidate: Candidate
    state: Literal["kept", "unsure", "missed", "failed"]
    quality: float | None = None
    lost: tuple[float, float] | None = None
    speed: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    size: float | None = None
    reason: str = ""
    ran: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """``chosen``: None if nothing could be measured. ``losses``: name of each other candidate → why not."""

    entries: tuple[Entry, ...]
    chosen: Entry | None
    losses: Mapping[str, str]


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """``text``: of the Compressfile in ``path``, which need not be there, with a target for each of ``entered``; the
    first is the baseline. ``quality``, ``speed``, ``size``: names of metrics. ``drop``: how much quality may be lost;
    None where the metric has a limit of its own. ``lenient``: a candidate whose loss is not sure to be less is kept."""

    path: Path
    text: str
    entered: tuple[Candidate, ...]
    quality: str
    speed: str
    size: str
    goal: Goal
    drop: float | None = None
    lenient: bool = False
    cache: Path | None = None
    jobs: int | None = None
    observers: tuple[Observer, ...] = ()

    def run(self) -> Outcome:
        """All candidates in one build, so what they share is made once and ``jobs`` of them are made side by side.
        Times are measured one after another. Raises NodeFailed if the baseline cannot be built and measured."""
        with closing(Project(self.path, text=self.text, cache=self.cache)) as project:
            plans = project.graph.targets
            able = [one.name for one in self.entered if not plans[one.name].missing]
            found = judged(project, able, observers=self.observers, jobs=self.jobs)
            entries = []
            base = found.get(self.entered[0].name)
            before = base.report.metrics.get(self.quality, {}) if base is not None else {}
            for number, one in enumerate(self.entered):
                if one.name in found:
                    entries.append(self._entry(number, one, found[one.name], before))
                else:
                    reason = f"cannot be built here: it {lacking(plans[one.name].missing)}"
                    entries.append(Entry(number=number, candidate=one, state="failed", reason=reason))
        if entries[0].state != "kept":
            raise NodeFailed(
                f"the model as it came cannot be measured: {entries[0].reason}",
                hint="what is said above of the node that failed has the cause",
            )
        return decide(entries, self.goal, self.speed, self.size)

    def _entry(self, number: int, one: Candidate, ended: Ended, before: Mapping[str, Any]) -> Entry:
        """``before``: the quality of the baseline."""
        report = ended.report
        samples, lost = _lost(self.quality, before, report.metrics.get(self.quality, {})) if number else (0, None)
        said = report.metrics.get(self.speed, {})
        beside = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0} if number == 0 and "value" in said else said
        base: dict[str, Any] = {
            "number": number,
            "candidate": one,
            "ran": ended.ran,
            "quality": report.metrics.get(self.quality, {}).get("value"),
            "lost": lost,
            "speed": beside.get("ratio"),
            "fastest": beside.get("ratio_low"),
            "slowest": beside.get("ratio_high"),
            "size": report.metrics.get(self.size, {}).get("value", report.size),
        }
        if report.status == "gate failed":
            missed = "; ".join(_missed(verdict) for verdict in report.verdicts if not verdict.ok)
            return Entry(state="missed", reason=missed, **base)
        if report.status != "checked":
            return Entry(state="failed", reason=": ".join([report.reason, *ended.errors]), **base)
        wanted = [(self.quality, "quality"), (self.speed, "speed"), (self.size, "size")]
        if number == 0:
            del wanted[0]  # a metric that compares answers with the baseline's has no value of that itself
        lacks = [name for name, key in wanted if base[key] is None]
        if lacks:
            why = "; ".join(f"{name}: {report.unmeasured.get(name) or 'not beside the baseline'}" for name in lacks)
            return Entry(state="failed", reason=f"not measured: {why}", **base)
        if lost is not None and self.drop is not None and lost[1] > self.drop and not self.lenient:
            reason = f"{samples} samples do not show that it loses at most {self.drop:g}: 95 % interval {spoken(lost)}"
            return Entry(state="unsure", reason=reason, **base)
        return Entry(state="kept", **base)


def _lost(metric: str, before: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[int, tuple[float, float] | None]:
    """(samples, the 95 % interval of what is lost to ``before``), paired; None where the metric keeps no hits."""
    first, second = hits(before), hits(own)
    if not first or not second or len(first) != len(second):
        return 0, None
    found = compare_quality(metric, first, second)
    return found.n, (0.0 - found.high, 0.0 - found.low)


def spoken(lost: tuple[float, float]) -> str:
    return f"{lost[0]:.4f} to {lost[1]:.4f}"


def decide(entries: Sequence[Entry], goal: Goal, speed: str, size: str) -> Outcome:
    """The fastest, or for the goal ``size`` the smallest, of those kept. Of several that differ by less than one
    measurement from the next, or by at most 5 % of the time where no difference is shown, the one that is better in
    the other cost; then the first. ``balanced``: of those that none beats in both, the nearest to the best of each."""
    kept = [entry for entry in entries if entry.state == "kept"]
    if not kept:
        return Outcome(tuple(entries), None, {})
    chosen = _balanced(kept, speed, size) if goal == "balanced" else _first(kept, goal == SPEED)
    losses = {
        entry.candidate.name: entry.reason if entry.state != "kept" else _beside(entry, chosen)
        for entry in entries
        if entry is not chosen
    }
    return Outcome(tuple(entries), chosen, losses)


def _first(kept: Sequence[Entry], fast: bool) -> Entry:
    def costs(entry: Entry) -> tuple[float, float]:
        pair = (entry.speed or 0.0, entry.size or 0.0)
        return pair if fast else (pair[1], pair[0])

    best = min(kept, key=costs)

    def alike(entry: Entry) -> bool:
        more = costs(entry)[0] / (costs(best)[0] or 1.0) - 1
        return more <= NEGLIGIBLE or (fast and more <= _ALIKE and _overlap(entry, best))

    return min(filter(alike, kept), key=lambda entry: (costs(entry)[1], entry.number))


def _overlap(one: Entry, two: Entry) -> bool:
    """Whether no difference in their times is shown: their 95 % intervals have a value in common."""
    ends = (one.fastest, one.slowest, two.fastest, two.slowest)
    if None in ends:
        return False
    return one.fastest <= two.slowest and two.fastest <= one.slowest  # type: ignore[operator]


def _balanced(kept: Sequence[Entry], speed: str, size: str) -> Entry:
    objectives = (Objective(speed, "minimize", relative=True), Objective(size, "minimize"))
    trials = [
        Trial(number=at, point={}, state="feasible", values=(entry.speed or 0.0, entry.size or 0.0))
        for at, entry in enumerate(kept)
    ]
    found = best(trials, objectives)
    assert found is not None  # each of them is feasible
    return kept[found.number]


def _missed(verdict: Verdict) -> str:
    """Which limit, and by how much."""
    said = f"{verdict.metric} {verdict.limit} {verdict.bound:g}"
    if verdict.value is None:
        return f"{said}: {verdict.verdict}, {verdict.reason}"
    return f"{said}: got {verdict.value:.4g}" + ("" if verdict.verdict == "fail" else f", {verdict.verdict}")


def _beside(entry: Entry, chosen: Entry) -> str:
    """How much slower and larger it is than what was chosen."""
    assert entry.speed is not None
    assert chosen.speed is not None
    slower = entry.speed / (chosen.speed or 1.0)
    larger = (entry.size or 0.0) / (chosen.size or 1.0)
    name = chosen.candidate.name
    said = f"×{slower:.2f} of the time and ×{larger:.2f} of the size of {name}"
    return f"{said}; no difference in time is shown" if _overlap(entry, chosen) else said
