"""Paired statistics against scipy and numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, chi2

from compressbuild.evaluate.paired import _Binomial, difference_interval, mcnemar, median_interval, quotient_interval


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 9), (9, 3), (0, 17), (250, 300), (500, 500)])
def test_mcnemar_exact(b: int, c: int) -> None:
    p, test = mcnemar(b, c)
    assert test == "exact"
    assert p == pytest.approx(binomtest(b, b + c).pvalue if b + c else 1.0)


@pytest.mark.parametrize(("b", "c"), [(600, 500), (2000, 2001), (5000, 5300)])
def test_mcnemar_chi_squared(b: int, c: int) -> None:
    p, test = mcnemar(b, c)
    assert test == "chi²"
    assert p == pytest.approx(chi2.sf(max(0, abs(b - c) - 1) ** 2 / (b + c), 1))


@pytest.mark.parametrize(("n", "p"), [(10, 0.3), (400, 0.01), (5000, 0.7), (7, 0.0), (7, 1.0), (1, 0.5)])
def test_binomial_quantiles(n: int, p: float) -> None:
    table = _Binomial(n, p)
    levels = np.linspace(0.001, 0.999, 97)
    assert [table.draw(level) for level in levels] == binom.ppf(levels, n, p).astype(int).tolist()


@pytest.mark.parametrize(("n", "lost", "won"), [(360, 4, 9), (1000, 60, 20), (50, 0, 3), (20_000, 900, 1000)])
def test_the_bootstrap_is_that_of_the_pairs(n: int, lost: int, won: int) -> None:
    """Against drawing the pairs themselves, as numpy does it."""
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(n, [lost / n, won / n, 1 - (lost + won) / n], size=200_000)
    expected = np.percentile((drawn[:, 1] - drawn[:, 0]) / n, [2.5, 97.5])
    low, high = difference_interval(n, lost, won)
    spread = math.sqrt(lost + won) / n
    assert (low, high) == pytest.approx(expected, abs=0.15 * spread + 1 / n)
    assert difference_interval(n, lost, won) == (low, high), "seeded"


def test_where_no_pair_differs_a_small_difference_stays_possible() -> None:
    """The share of discordant pairs that leaves 100 agreeing ones a chance of 5 % (Clopper and Pearson, one side)."""
    bound = binomtest(0, 100).proportion_ci(0.90).high
    assert difference_interval(100, 0, 0) == pytest.approx((-bound, bound))


def test_the_medians_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        middle, low, high = median_interval(np.exp(rng.standard_normal(31)).tolist())
        assert low is not None
        assert high is not None
        assert low <= middle <= high
        covered += low <= 1 <= high
    assert covered / 400 >= 0.93


def test_a_median_of_few_has_no_interval() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, None, None)
    assert median_interval([6, 1, 5, 2, 4, 3]) == (3.5, 1, 6)


def test_a_quotient_of_ratios() -> None:
    ratio, low, high = quotient_interval((0.5, 0.4, 0.6), (0.25, 0.2, 0.3))
    assert ratio == 0.5
    assert low < 0.4 < 0.6 < high
    assert quotient_interval((1.0, 1.0, 1.0), (0.25, 0.2, 0.3)) == pytest.approx((0.25, 0.2, 0.3))
    rng = np.random.default_rng(0)
    a, b = (np.exp(rng.normal(mean, 0.1, 200_000)) for mean in (math.log(0.5), math.log(0.3)))
    sides = [(float(np.median(x)), *np.percentile(x, [2.5, 97.5]).tolist()) for x in (a, b)]
    assert quotient_interval(*sides)[1:] == pytest.approx(np.percentile(b / a, [2.5, 97.5]), rel=0.02)  # type: ignore[arg-type]
