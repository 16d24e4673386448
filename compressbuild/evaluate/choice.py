"""Which targets stand out, and which one to ship.

As good means not worse than the best by more than a stated margin, with the whole 95 % interval of the difference where
the samples are known (non-inferiority). What is only "not shown to differ" is not called as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .compare import compare_quality, hits
from .concerns import NEGLIGIBLE

__all__ = ["MARGIN", "Candidate", "Choice", "Terms", "choose", "front"]

MARGIN = 0.01  # of the best quality, where no gate says how far it may fall


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What decides. ``quality`` and ``speed``: metrics; ``lower``: the less quality's value the better. ``margin``: how
    far quality may fall, as a gate's ``max-drop`` says; None: 1 % of the best one's."""

    quality: str
    speed: str
    lower: bool = False
    margin: float | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """``speed``: the less the better, as measured or as a ratio, with its 95 % interval ``fastest`` to ``slowest``
    where it has one; ``size`` in bytes. ``right``: which samples it gets right, where that is known. ``objection``:
    why it is not to be shipped. ``remarks``: further notes on it."""

    name: str
    quality: float | None
    speed: float | None
    size: float | None
    fastest: float | None = None
    slowest: float | None = None
    right: tuple[str, tuple[bool, ...]] | None = None
    objection: str = ""
    remarks: tuple[str, ...] = ()
    lower: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        metrics: Mapping[str, Mapping[str, Any]],
        terms: Terms,
        size: int | None,
        objection: str = "",
        remarks: tuple[str, ...] = (),
    ) -> Candidate:
        """From results of metric functions."""
        scored = metrics.get(terms.quality, {})
        bits = hits(scored)
        return cls(
            name=name,
            quality=scored.get("value"),
            speed=metrics.get(terms.speed, {}).get("value"),
            size=size,
            right=(str(scored.get("labels", "")), tuple(bits)) if bits is not None else None,
            objection=objection,
            remarks=remarks,
            lower=terms.lower,
        )

    @property
    def merit(self) -> float:
        """Quality with more always better; 0 where it is unknown."""
        return (self.quality or 0) * (-1 if self.lower else 1)

    @property
    def costs(self) -> tuple[float, ...] | None:
        """What is to be small, in every direction; None unless all are known."""
        if self.quality is None or self.speed is None or self.size is None:
            return None
        return (-self.merit, self.speed, self.size)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """``reasons``: why this one. ``remarks``: what it does not rest on. ``rivals``: the others in order, with why not.
    ``platform``: what it is for; None: no platform."""

    name: str
    reasons: tuple[str, ...]
    rivals: Mapping[str, str]
    remarks: tuple[str, ...] = ()
    platform: str | None = None


def front(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Names of those that no other beats in quality, speed and size at once (the Pareto front)."""
    known = [(c.name, costs) for c in candidates if (costs := c.costs) is not None]
    return frozenset(
        name
        for name, own in known
        if not any(other != own and all(o <= c for o, c in zip(other, own, strict=True)) for _, other in known)
    )


def choose(candidates: Sequence[Candidate], terms: Terms) -> Choice | None:
    """The fastest of those that are as good as the best; ties go to the smallest, then to the best. Candidates that
    differ by less than one measurement from the next are tied."""
    known = [c for c in candidates if c.costs is not None]
    allowed = [c for c in known if not c.objection]
    if not allowed:
        return None
    best = max(allowed, key=lambda c: c.merit)
    margin = terms.margin if terms.margin is not None else MARGIN * abs(best.merit)
    worse = {c.name: why for c in allowed if (why := _worse(best, c, terms, margin))}
    good = [c for c in allowed if c.name not in worse]
    fastest = _least(good, lambda c: c.speed or 0)
    chosen = min(_least(fastest, lambda c: c.size or 0), key=lambda c: (-c.merit, c.speed or 0))
    rivals = {}
    for c in sorted(known, key=lambda c: c.speed or 0):
        if c.name != chosen.name:
            rivals[c.name] = c.objection or worse.get(c.name) or _beside(chosen, c, terms.speed)
    alike = [c.name for c in good if c.name != chosen.name and _overlap(chosen, c)]
    remarks = (f"no difference in {terms.speed} is shown from {', '.join(alike)}: intervals overlap",) if alike else ()
    return Choice(
        name=chosen.name,
        reasons=_reasons(chosen, best, good, allowed, terms, margin),
        rivals=rivals,
        remarks=(*remarks, *chosen.remarks),
    )


def _reasons(
    chosen: Candidate,
    best: Candidate,
    good: Sequence[Candidate],
    allowed: Sequence[Candidate],
    terms: Terms,
    margin: float,
) -> tuple[str, str]:
    if chosen.merit >= best.merit:
        lead = f"no other has a {'lower' if terms.lower else 'higher'} {terms.quality} ({chosen.quality:.4g})"
    else:
        beside = f"the {best.quality:.4g} of {best.name}"
        lead = f"{terms.quality} {chosen.quality:.4g} is not worse than {beside} by more than {margin:.2g}"
    alone = "no other can be shipped" if len(allowed) == 1 else "no other is as good"
    return lead, f"the fastest of the {len(good)} that are as good" if len(good) > 1 else alone


def _least(candidates: Sequence[Candidate], cost: Callable[[Candidate], float]) -> list[Candidate]:
    """Those that cost as little as the cheapest, or hardly more."""
    limit = (1 + NEGLIGIBLE) * min(map(cost, candidates))
    return [c for c in candidates if cost(c) <= limit]


def _overlap(one: Candidate, other: Candidate) -> bool:
    if one.fastest is None or one.slowest is None or other.fastest is None or other.slowest is None:
        return False
    return one.fastest <= other.slowest and other.fastest <= one.slowest


def _beside(chosen: Candidate, other: Candidate, speed: str) -> str:
    """How much slower and larger what is as good is."""
    if not chosen.speed or not chosen.size or other.speed is None or other.size is None:
        return "as good, but not faster"
    slower, larger = other.speed / chosen.speed, other.size / chosen.size
    alike = slower <= 1 + NEGLIGIBLE or _overlap(chosen, other)
    said = "as good and about as fast" if alike else "as good, but slower"
    return f"{said}: ×{slower:.2f} of the {speed} and ×{larger:.2f} of the size of {chosen.name}"


def _worse(best: Candidate, other: Candidate, terms: Terms, margin: float) -> str:
    """Why it is not as good as the best; empty if it is."""
    if other.name == best.name or other.merit >= best.merit:
        return ""
    side = "above" if terms.lower else "below"
    said = f"{terms.quality} {other.quality:.4g} is {side} {best.quality:.4g} of {best.name}"
    if best.right is None or other.right is None or best.right[0] != other.right[0]:
        return said if best.merit - other.merit > margin else ""
    found = compare_quality(terms.quality, best.right[1], other.right[1])
    if found.verdict == "worse" and found.low < -margin:
        return f"{said} (McNemar p = {found.p:.2g})"
    if found.low < -margin:
        return f"not shown to be as good: {said}, and it may be {-found.low:.2g} worse (margin {margin:.2g})"
    return ""
