"""Collects every problem of one pass, so that the user can fix a file in one round."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import CompressfileError, Diagnostic, Mark

__all__ = ["Problems"]

_HINTED = 50  # guessing costs a pass over all names; nobody reads more hints than this

Hint = str | Callable[[], str | None] | None


class Problems:
    """Diagnostics in the making. ``texts``: file name → text, for the excerpts."""

    def __init__(self, texts: dict[str, str] | None = None) -> None:
        self.texts = texts if texts is not None else {}
        self._found: dict[tuple[Mark | None, str], Diagnostic] = {}

    def add(self, message: str, mark: Mark | None = None, hint: Hint = None) -> None:
        """Note a complaint; the same words about the same place (a matrix repeats them) count once."""
        key = (mark, message)
        if key in self._found:
            return
        if callable(hint):
            hint = hint() if len(self._found) < _HINTED else None
        self._found[key] = Diagnostic(message, mark, hint)

    def __len__(self) -> int:
        return len(self._found)

    def error(self) -> CompressfileError:
        """Everything found: about the command line's settings in their order, then about the file, top to bottom."""
        ranks = {file: rank for rank, file in enumerate(self.texts)}
        main = next(iter(self.texts), "")
        ranks[main] = len(ranks)

        def place(found: Diagnostic) -> tuple[int, int, int]:
            mark = found.mark
            return (ranks.get(mark.file, 0), mark.line, mark.column) if mark else (-1, 0, 0)

        return CompressfileError(sorted(self._found.values(), key=place), dict(self.texts))

    def check(self) -> None:
        """Raise CompressfileError if anything was found."""
        if self._found:
            raise self.error()
