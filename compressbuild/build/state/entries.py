"""The entries of ``targets:`` by their lines, so that a text with few of them reads as the whole does.

An entry begins at the line of its key and ends before that of the next. In a *part* of a text each line of an entry
that is left out is an empty comment, so what is left keeps its place. The keys are those that the parser itself found.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ...compressfile.nodes import Map
from ...compressfile.problems import Problems
from ...compressfile.spec import Spec
from ...errors import CompressfileError

__all__ = ["NONE", "Entries"]

_WORD = re.compile(r"[\w.@+-]+")
_GROUPS = re.compile(r"groups\s*:")


class Entries(NamedTuple):
    """``starts``: line of each key, from 0, and at last the line after the last entry. ``column``: that of every key,
    from 0. ``names``: the targets that each entry stands for."""

    column: int
    starts: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, spec: Spec) -> Entries:
        """Those of a file that was read whole; none if its text is not of this form."""
        found: dict[int, list[str]] = {}
        columns = set()
        for target in spec.targets.values():
            if spec.texts.get(target.mark.file) != spec.text:  # declared by --set
                return NONE
            found.setdefault(target.mark.line - 1, []).append(target.name)
            columns.add(target.mark.column - 1)
        column = min(columns, default=0)
        lines = spec.text.split("\n")
        starts = sorted(found)
        if len(columns) != 1 or not column or starts[-1] >= len(lines):
            return NONE
        end = next((at for at in range(starts[-1] + 1, len(lines)) if _indent(lines[at]) < column), len(lines))
        entries = cls(column, (*starts, end), tuple(tuple(found[line]) for line in starts))
        keys = (lines[line] for line in starts)
        sound = all(_indent(key) == column for key in keys) and entries._stands_alone(lines, len(starts) - 1)
        return entries if sound else NONE

    def changed(self, old: str, new: str) -> tuple[Entries, frozenset[int]] | None:
        """The entries of the text ``new``, and which of them are not as in ``old``. None if something else changed."""
        if old == new:
            return self, frozenset()
        before, after = old.split("\n"), new.split("\n")
        moved = self
        if len(before) == len(after):
            lines = [at for at, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
            touched = frozenset(bisect_right(self.starts, at) - 1 for at in lines)
            if not all(0 <= at < len(self.names) for at in touched):
                return None
        else:
            at = self._only_change(before, after)
            shift = len(after) - len(before)
            touched = frozenset((at,))
            moved = self._replace(starts=(*self.starts[: at + 1], *(line + shift for line in self.starts[at + 1 :])))
        first, end = self.starts[0], self.starts[-1]
        around = before[:first] == after[:first] and before[end:] == after[moved.starts[-1] :]
        return (moved, touched) if around and all(moved._stands_alone(after, at) for at in touched) else None

    def _only_change(self, before: Sequence[str], after: Sequence[str]) -> int:
        """The entry in which the first difference lies."""
        pairs = zip(before, after, strict=False)
        first = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))
        return max(0, min(bisect_right(self.starts, first), len(self.names)) - 1)

    def words(self, lines: Sequence[str], number: int) -> frozenset[str]:
        """All in an entry that could be a name."""
        return frozenset(_WORD.findall("\n".join(lines[slice(*self.starts[number : number + 2])])))

    def words_around(self, lines: Sequence[str]) -> frozenset[str]:
        """The same of all that is no entry."""
        return frozenset(_WORD.findall(self.part(lines, ())))

    def part(self, lines: Sequence[str], wanted: Collection[int]) -> str:
        """The text with these entries alone, each on its lines, and without groups."""
        kept = list(lines[: self.starts[0]])
        for number, (start, end) in enumerate(zip(self.starts, self.starts[1:], strict=False)):
            kept += lines[start:end] if number in wanted else ["#"] * (end - start)
        return "\n".join(_ungrouped([*kept, *lines[self.starts[-1] :]]))

    def _stands_alone(self, lines: Sequence[str], number: int) -> bool:
        """Whether an entry reads as one key with its value, whatever is before and after it."""
        from ...compressfile.reader import read

        start, end = self.starts[number : number + 2]
        first, *others = lines[start:end]
        deeper = all(_indent(line) > self.column or line.lstrip().startswith("#") for line in others)
        if not deeper or _indent(first) != self.column:
            return False
        problems = Problems()
        try:
            found = read("\n".join([first, *others]), "", problems)
        except CompressfileError:
            return False
        return isinstance(found, Map) and len(found.entries) == 1 and not problems


NONE = Entries(0, (), ())


def _indent(line: str) -> int:
    """Spaces before the first character; of an empty line more than any."""
    bare = line.lstrip(" ")
    return len(line) - len(bare) if bare.strip() else 1 << 30


def _ungrouped(lines: Sequence[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        if line[:1] not in ("", " ", "#", "\r", "\t"):
            inside = _GROUPS.match(line) is not None
        yield "#" if inside else line
