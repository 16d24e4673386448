"""Which rows of a dataset are meant: all, or one part of those that a ``split:`` makes."""

from __future__ import annotations

import msgspec

__all__ = ["Rows"]


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a dataset's rows. Parts of one split never share a row.

    ``sizes``: of the parts, in order: a share of the rows (below 1) or a number of them. ``slices``: instead, first row
    and the one after the last. ``part``: which of these; None: the rows that are in none. ``seed``: of the order in
    which rows are drawn; None: the order of the file. By default: every row, in the order of the file.
    """

    sizes: tuple[int | float, ...] = ()
    slices: tuple[tuple[int, int], ...] = ()
    part: int | None = None
    seed: int | None = None

    def of(self, count: int) -> list[int]:
        """The numbers of the rows, out of ``count``. ValueError if the parts do not fit into that many."""
        order = list(range(count))
        if self.seed is not None:
            import random  # here: what only reads a project does without it

            # Only random() gives the same in every release of Python.
            draw = random.Random(self.seed).random
            order = [row for _, row in sorted((draw(), row) for row in order)]
        spans = [*self.slices] if self.slices else self._spans(count)
        outside = next((stop for _, stop in spans if stop > count), None)
        if outside is not None:
            raise ValueError(f"its parts need {outside:,} rows, and there are {count:,}")
        if self.part is not None:
            start, stop = spans[self.part]
            return order[start:stop]
        taken = {row for start, stop in spans for row in range(start, stop)}
        return [row for place, row in enumerate(order) if place not in taken]

    def _spans(self, count: int) -> list[tuple[int, int]]:
        spans, start, numbers, shares = [], 0, 0, 0.0
        for size in self.sizes:
            if isinstance(size, int):
                numbers += size
            else:
                shares += size
            stop = max(start + 1, numbers + round(shares * count))  # shares are rounded together: none is lost
            spans.append((start, stop))
            start = stop
        return spans
