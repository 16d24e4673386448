"""Which part of a model gets how many bits, so that it fits a number of bytes and loses least.

Losses of parts add up, as far as one can know without trying all combinations. Then the best choice is that of a
multiple-choice knapsack, which a table over the bytes finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["choose"]

_STEPS = 1 << 16  # of the bytes: each option counts up to a step more than it has, so that the sum never has more


def choose(options: Sequence[Mapping[int, tuple[int, float]]], room: int) -> list[int] | None:
    """Of each part, the option of the combination with the least sum of losses within ``room`` bytes. None if even
    the smallest has more.

    ``options``: of each part, option → (bytes, loss). The sum of losses is the least there is, if ``room`` is at most
    65,535 bytes above the smallest combination; else up to 1/65,536 of those bytes for each part may stay unused. Of
    equal sums it takes the larger options, which are the more precise ones.
    """
    least = [min(size for size, _ in each.values()) for each in options]
    spare = room - sum(least)
    if spare < 0:
        return None
    step = max(1, -(-spare // _STEPS))
    width = spare // step + 1
    best = np.zeros(width)  # least loss with at most so many steps, of the parts so far
    taken: list[np.ndarray] = []
    for each, floor in zip(options, least, strict=True):
        sums = np.full(width, np.inf)
        picked = np.zeros(width, np.int64)
        for option, (size, loss) in sorted(each.items()):
            cost = -(-(size - floor) // step)
            if cost >= width:
                continue
            tried = np.full(width, np.inf)
            tried[cost:] = best[: width - cost] + loss
            better = tried <= sums
            sums, picked = np.where(better, tried, sums), np.where(better, option, picked)
        best, taken = sums, [*taken, picked]
    place, found = width - 1, []
    for each, floor, picked in zip(reversed(options), reversed(least), reversed(taken), strict=True):
        option = int(picked[place])
        found.append(option)
        place -= -(-(each[option][0] - floor) // step)
    return found[::-1]
