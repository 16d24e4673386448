"""Which targets are worth looking at, and which one to ship."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .compare import compare_quality, hits
from .concerns import NEGLIGIBLE

__all__ = ["Candidate", "Choice", "choose", "front"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """``quality``: higher is better, unless ``lower``; ``speed``: the less the better, as measured or as a ratio;
    ``size`` in bytes. ``right``: which samples it gets right, where that is known. ``objection``: why it is not to be
    shipped."""

    name: str
    quality: float | None
    speed: float | None
    size: float | None
    right: tuple[str, tuple[bool, ...]] | None = None
    objection: str = ""
    lower: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        metrics: Mapping[str, Mapping[str, Any]],
        quality: str,
        speed: str | None,
        size: int | None,
        objection: str = "",
        *,
        lower: bool = False,
    ) -> Candidate:
        """From results of metric functions. ``quality`` and ``speed``: the metrics that say how good and how fast it
        is."""
        values = {key: result.get("value") for key, result in metrics.items()}
        scored = metrics.get(quality, {})
        bits = hits(scored)
        return cls(
            name=name,
            quality=values.get(quality),
            speed=values.get(speed) if speed is not None else None,
            size=size,
            right=(str(scored.get("labels", "")), tuple(bits)) if bits is not None else None,
            objection=objection,
            lower=lower,
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
    """``reasons``: why this one. ``rivals``: the others in order, with why not."""

    name: str
    reasons: tuple[str, ...]
    rivals: Mapping[str, str]


def front(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Names of those that no other beats in quality, speed and size at once (the Pareto front)."""
    known = [(c.name, costs) for c in candidates if (costs := c.costs) is not None]
    return frozenset(
        name
        for name, own in known
        if not any(other != own and all(o <= c for o, c in zip(other, own, strict=True)) for _, other in known)
    )


def choose(candidates: Sequence[Candidate], metric: str, speed: str) -> Choice | None:
    """The fastest of those whose quality is not shown to be worse than the best one's; of those that are as fast the
    smallest, then the best. What differs by less than one measurement from the next is equal.

    Shown to be worse: McNemar's test on the same samples at 5 %, or where samples are not known, a lower value.
    """
    known = [c for c in candidates if c.costs is not None]
    allowed = [c for c in known if not c.objection]
    if not allowed:
        return None
    best = max(allowed, key=lambda c: c.merit)
    worse = {c.name: why for c in allowed if (why := _worse(best, c, metric))}
    good = [c for c in allowed if c.name not in worse]
    fastest = _least(good, lambda c: c.speed or 0)
    chosen = min(_least(fastest, lambda c: c.size or 0), key=lambda c: (-c.merit, c.speed or 0))
    rivals = {}
    for c in sorted(known, key=lambda c: c.speed or 0):
        if c.name != chosen.name:
            rivals[c.name] = c.objection or worse.get(c.name) or _beside(chosen, c, speed)
    less, more = ("above", "lower") if best.lower else ("below", "higher")
    if chosen.merit >= best.merit:
        lead = f"no other has a {more} {metric} ({chosen.quality:.4g})"
    else:
        lead = (
            f"{metric} {chosen.quality:.4g} is not shown to be {less} the {best.quality:.4g} of {best.name} (McNemar)"
        )
    alone = "no other can be shipped" if len(allowed) == 1 else "no other is as good"
    second = f"the fastest of the {len(good)} that are as good" if len(good) > 1 else alone
    return Choice(name=chosen.name, reasons=(lead, second), rivals=rivals)


def _least(candidates: Sequence[Candidate], cost: Callable[[Candidate], float]) -> list[Candidate]:
    """Those that cost as little as the cheapest, or hardly more."""
    limit = (1 + NEGLIGIBLE) * min(map(cost, candidates))
    return [c for c in candidates if cost(c) <= limit]


def _beside(chosen: Candidate, other: Candidate, speed: str) -> str:
    """How much slower and larger what is as good is: little of it may be chance."""
    if not chosen.speed or not chosen.size or other.speed is None or other.size is None:
        return "as good, but not faster"
    slower, larger = other.speed / chosen.speed, other.size / chosen.size
    said = "as good and about as fast" if slower <= 1 + NEGLIGIBLE else "as good, but not faster"
    return f"{said}: ×{slower:.2f} of the {speed} and ×{larger:.2f} of the size of {chosen.name}"


def _worse(best: Candidate, other: Candidate, metric: str) -> str:
    if other.name == best.name or other.merit >= best.merit:
        return ""
    said = f"{metric} {other.quality:.4g} is {'above' if best.lower else 'below'} {best.quality:.4g} of {best.name}"
    if best.right is None or other.right is None or best.right[0] != other.right[0]:
        return said
    found = compare_quality(metric, best.right[1], other.right[1])
    return f"{said} (McNemar p = {found.p:.2g})" if found.verdict == "worse" else ""
