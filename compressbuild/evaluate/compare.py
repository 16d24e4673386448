"""Two targets, or two logs of one service, on the same samples: is the second better, and is it faster?"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from .answers import Flip
from .concerns import NEGLIGIBLE
from .paired import difference_interval, mcnemar, median_interval, quotient_interval

__all__ = [
    "Comparison",
    "Quality",
    "Row",
    "Speed",
    "compare_quality",
    "compare_speed",
    "direct_speed",
    "hits",
    "judged_row",
    "paired_speed",
    "row",
    "timed_row",
]

SURE = 0.05


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """Right and wrong answers to the same samples. ``difference``: second - first, with its 95 % interval.

    ``only_first``/``only_second``: samples that one alone gets right. ``lost``/``won``: those samples, by index in the
    evaluation data (labels that count) or by id. ``p``: McNemar's.
    """

    metric: str
    n: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p: float
    test: str
    verdict: Literal["better", "worse", "no difference shown"]
    lost: tuple[int | str, ...]
    won: tuple[int | str, ...]


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """How long a run takes, by ``metric``. ``ratio``: second / first, with its 95 % interval where there is one.
    ``how``: the two were paired."""

    metric: str
    first: float
    second: float
    ratio: float
    low: float | None
    high: float | None
    verdict: Literal["faster", "slower", "no difference shown"]
    how: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of both. ``ratio``: second / first, with its 95 % interval where it was measured as one; None for
    values of different moments. ``better``: whether the second's value is, None where that is not shown or no
    direction is."""

    metric: str
    unit: str
    first: float | None
    second: float | None
    ratio: float | None
    better: bool | None
    low: float | None = None
    high: float | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``flipped``: what both answered to the samples in ``quality.lost`` and ``quality.won``, where that is known.
    ``sizes``: bytes of each artifact, where both are known. ``missing``: what could not be compared → why."""

    first: str
    second: str
    quality: Quality | None = None
    speed: Speed | None = None
    sizes: tuple[int, int] | None = None
    rows: tuple[Row, ...] = ()
    flipped: tuple[Flip, ...] = ()
    missing: Mapping[str, str] = {}

    @property
    def verdict(self) -> str:
        """One sentence."""
        said = []
        if self.quality is not None:
            verdict = self.quality.verdict
            said.append(f"no difference in {self.quality.metric} shown" if verdict[0] == "n" else verdict)
        if self.speed is not None:
            alike = self.speed.verdict[0] == "n"
            said.append(f"no difference in {self.speed.metric} shown" if alike else self.speed.verdict)
        if self.sizes is not None and self.sizes[0] != self.sizes[1]:
            said.append("smaller" if self.sizes[1] < self.sizes[0] else "larger")
        return f"{self.second} against {self.first}: {', '.join(said) or 'nothing to compare'}"


def hits(result: Mapping[str, Any]) -> list[bool] | None:
    """Which samples are right, from the bitmap of a metric's result; None if it has none, ValueError if it is bad."""
    if "hits" not in result:
        return None
    packed, n = base64.b64decode(result["hits"], validate=True), int(result["n"])
    if len(packed) != (n + 7) // 8:
        raise ValueError(f"{len(packed)} bytes cannot be the hits of {n} samples")
    return [bool(packed[i >> 3] & (0x80 >> (i & 7))) for i in range(n)]


def compare_quality(
    metric: str, first: Sequence[bool], second: Sequence[bool], names: Sequence[int | str] | None = None
) -> Quality:
    """``first[i]`` and ``second[i]``: whether each is right about the same sample. ValueError unless they pair up."""
    n = len(first)
    if n == 0 or n != len(second):
        raise ValueError(f"{n} and {len(second)} samples cannot be paired")
    called = range(n) if names is None else names
    lost = tuple(called[i] for i in range(n) if first[i] and not second[i])
    won = tuple(called[i] for i in range(n) if second[i] and not first[i])
    p, test = mcnemar(len(lost), len(won))
    low, high = difference_interval(n, len(lost), len(won))
    difference = (len(won) - len(lost)) / n
    return Quality(
        metric=metric,
        n=n,
        first=sum(first) / n,
        second=sum(second) / n,
        difference=difference,
        low=low,
        high=high,
        only_first=len(lost),
        only_second=len(won),
        p=p,
        test=test,
        verdict="no difference shown" if p >= SURE else "better" if difference > 0 else "worse",
        lost=lost,
        won=won,
    )


def compare_speed(metric: str, first: Mapping[str, Any], second: Mapping[str, Any], baseline: str) -> Speed | None:
    """From two results that each have a ratio to the same ``baseline``; None where one has not.

    The baseline itself has no ratio: pass ``{"value": ms, "ratio": 1, "ratio_low": 1, "ratio_high": 1}`` for it.
    """
    before, after = _ratio(first), _ratio(second)
    if before is None or after is None:
        return None
    ratio, low, high = quotient_interval(before, after)
    return _speed(metric, first["value"], second["value"], ratio, low, high, f"through the ratio of each to {baseline}")


def _ratio(result: Mapping[str, Any]) -> tuple[float, float, float] | None:
    ratio, low, high = (float(result.get(name) or 0) for name in ("ratio", "ratio_low", "ratio_high"))
    return (ratio, low, high) if min(ratio, low, high) > 0 else None


def direct_speed(metric: str, result: Mapping[str, Any]) -> Speed | None:
    """From a result of the second whose baseline was the first, measured alternately with it."""
    base = result.get("baseline") or {}
    if "ratio" not in result or "value" not in base:
        return None
    low, high = result.get("ratio_low"), result.get("ratio_high")
    return _speed(
        metric, base["value"], result["value"], result["ratio"], low, high, "alternately, over several sessions"
    )


def paired_speed(metric: str, first: Sequence[float], second: Sequence[float]) -> Speed:
    """From times of the same requests: the median of their ratios."""
    ratio, low, high = median_interval([b / a for a, b in zip(first, second, strict=True)])
    before, after = median_interval(first)[0], median_interval(second)[0]
    return _speed(metric, before, after, ratio, low, high, f"median of the ratios of {len(first)} pairs")


def _speed(
    metric: str, first: float, second: float, ratio: float, low: float | None, high: float | None, how: str
) -> Speed:
    sure = low is not None and high is not None and (high < 1 - NEGLIGIBLE or low > 1 + NEGLIGIBLE)
    verdict: Any = ("faster" if ratio < 1 else "slower") if sure else "no difference shown"
    return Speed(metric=metric, first=first, second=second, ratio=ratio, low=low, high=high, verdict=verdict, how=how)


def row(
    metric: str, unit: str, direction: str, first: Mapping[str, Any] | None, second: Mapping[str, Any] | None
) -> Row:
    """Both values side by side."""
    a, b = (
        None if result is None or result.get("value") is None else float(result["value"]) for result in (first, second)
    )
    ratio = better = None
    if a is not None and b is not None:
        ratio = b / a if a > 0 and b >= 0 else None
        if direction in ("lower", "higher") and a != b and not (math.isnan(a) or math.isnan(b)):
            better = (b < a) == (direction == "lower")
    return Row(metric=metric, unit=unit, first=a, second=b, ratio=ratio, better=better)


def timed_row(plain: Row, speed: Speed | None) -> Row:
    """The row of a metric whose values are of different moments: they are not compared, only ``speed``'s ratio is."""
    if speed is None or speed.metric != plain.metric:
        return msgspec.structs.replace(plain, ratio=None, better=None)
    better = {"faster": True, "slower": False}.get(speed.verdict)
    return msgspec.structs.replace(plain, ratio=speed.ratio, better=better, low=speed.low, high=speed.high)


def judged_row(plain: Row, quality: Quality | None) -> Row:
    """The row of a metric that was judged on the same samples: better or worse only if that is shown."""
    if quality is None or quality.metric != plain.metric:
        return plain
    return msgspec.structs.replace(plain, better={"better": True, "worse": False}.get(quality.verdict))
