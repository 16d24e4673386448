"""Statistics of paired observations, in the standard library alone.

McNemar's test: Q. McNemar, 1947, exact (binomial) up to 1000 discordant pairs and chi-squared with the correction of
Edwards (1948) beyond. Interval of a difference of shares: percentile bootstrap (Efron 1979). Interval of a median:
order statistics, exact for any distribution (Thompson 1936).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

__all__ = ["difference_interval", "mcnemar", "median_interval", "quotient_interval"]

EXACT_UP_TO = 1000
RESAMPLES = 4000


def mcnemar(only_first: int, only_second: int) -> tuple[float, str]:
    """(two-sided p, which test) for pairs where only the first, or only the second, is right."""
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0, "exact"
    if discordant <= EXACT_UP_TO:
        tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
        return min(1.0, 2 * tail / (1 << discordant)), "exact"
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / discordant
    return math.erfc(math.sqrt(statistic / 2)), "chi²"


def difference_interval(n: int, only_first: int, only_second: int, seed: int = 0) -> tuple[float, float]:
    """95 % interval of (share right in the second) - (share right in the first) over ``n`` pairs.

    A resample of pairs is a draw of how many are discordant, and of how many of those the second wins; so its cost does
    not depend on ``n``.
    """
    discordant = only_first + only_second
    if not discordant:  # resampling would claim to be certain; instead the most that n agreeing pairs leave possible
        bound = 1 - 0.05 ** (1 / n)
        return -bound, bound
    from random import Random  # what only reads evidence does without it

    rng = Random(seed)
    outer = _Binomial(n, discordant / n)
    inner: dict[int, _Binomial] = {}
    share = only_second / discordant
    drawn = []
    for _ in range(RESAMPLES):
        count = outer.draw(rng.random())
        if count not in inner:
            inner[count] = _Binomial(count, share)
        drawn.append((2 * inner[count].draw(rng.random()) - count) / n)
    drawn.sort()
    return drawn[round(0.025 * (RESAMPLES - 1))], drawn[round(0.975 * (RESAMPLES - 1))]


def median_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """(median, low, high) with at least 95 % coverage; no interval for fewer than six values, which allow none."""
    ordered = sorted(values)
    n = len(ordered)
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    rank = _Binomial(n, 0.5).draw(0.025) if n else 0
    if rank < 1:
        return middle, None, None
    return middle, ordered[rank - 1], ordered[n - rank]


def quotient_interval(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """(second / first, low, high) of two independent ratios to the same thing, each (ratio, low, high): their errors on
    the logarithmic scale add as squares."""
    ratio = second[0] / first[0]
    low = math.hypot(math.log(second[0] / second[1]), math.log(first[2] / first[0]))
    high = math.hypot(math.log(second[2] / second[0]), math.log(first[0] / first[1]))
    return ratio, ratio * math.exp(-low), ratio * math.exp(high)


class _Binomial:
    """The distribution function of a binomial variable, as far as it is not 0 or 1 in double precision."""

    def __init__(self, n: int, p: float) -> None:
        spread = 10 * math.sqrt(n * p * (1 - p)) + 10
        self._start = max(0, math.floor(n * p - spread))
        self._below = list(_accumulated(n, p, self._start, min(n, math.ceil(n * p + spread))))

    def draw(self, uniform: float) -> int:
        """The least k with P(X ≤ k) ≥ ``uniform``."""
        return self._start + min(bisect_left(self._below, uniform), len(self._below) - 1)


def _accumulated(n: int, p: float, start: int, end: int) -> Iterator[float]:
    total = 0.0
    for k in range(start, end + 1):
        if p in (0.0, 1.0):
            total += float(k == n * p)
        else:
            choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            total += math.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))
        yield total
