"""Rows in batches, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from compressbuild.api import Rows, UserError
from compressbuild.api.advice import EMPTY

__all__ = ["Batches", "chosen"]

_SIZE = 64

Take = Callable[[Sequence[int]], tuple[Any, Any]]
"""Numbers of rows → ``(inputs, labels)`` of these."""
Show = Callable[[Sequence[int]], Sequence[Any]]
"""Numbers of rows → what they are, for people: text, a picture as an array, or None."""


class Batches:
    """The batches of a dataset: what ``take`` gives for each 64 of its rows. ``show``: for people, as stored."""

    def __init__(self, rows: Sequence[int], take: Take, show: Show) -> None:
        self._rows = rows
        self._take = take
        self._show = show

    def __len__(self) -> int:
        return -(-len(self._rows) // _SIZE)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(self._rows), _SIZE):
            yield self._take(self._rows[start : start + _SIZE])

    def preview(self, numbers: Sequence[int]) -> Sequence[Any]:
        """What these samples are, each by its number in the order of the batches (see :mod:`cbuild_kit.previews`)."""
        return self._show([self._rows[number] for number in numbers])


def chosen(rows: Rows, count: int, path: str) -> list[int]:
    """The rows of ``path``, which has ``count``, that are meant. UserError if there are none, or too few."""
    if count == 0:
        raise UserError(
            f"'{path}' has no rows", hint="write them to the file, or let the step name another dataset", about=EMPTY
        )
    try:
        found = rows.of(count)
    except ValueError as error:
        raise UserError(f"'{path}' is too small for its 'split': {error}", hint="make the parts smaller") from error
    if not found:
        raise UserError(
            f"the 'split' of '{path}' leaves no rows here: the other parts take all {count}",
            hint="make the parts smaller, or name one of them",
            about=EMPTY,
        )
    return found
