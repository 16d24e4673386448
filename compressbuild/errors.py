"""Every error that compressbuild raises on purpose.

    CbuildError                 exit 1
    ├── UsageError              exit 2   a bad command line
    │   └── CompressfileError   exit 2   one or more located diagnostics
    ├── PluginError             exit 2   a plugin that is broken, duplicate or missing
    ├── NodeFailed              exit 1   a node raised, crashed, ran out of memory or time
    ├── Incompatible            exit 4   a requested target cannot be built on this host, or software is not as locked
    ├── StoreError              exit 1   the cache cannot be read or written
    └── Interrupted             exit 130 Ctrl-C

An error says what is wrong, where (``file:line:column``), and what to do about it (``hint``).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = [
    "CbuildError",
    "CompressfileError",
    "Diagnostic",
    "Incompatible",
    "Interrupted",
    "Mark",
    "NodeFailed",
    "PluginError",
    "StoreError",
    "UsageError",
]


class Mark(msgspec.Struct, frozen=True):
    """A place in a text: 1-based line and column, ``length`` characters to underline."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(msgspec.Struct, frozen=True):
    """One located complaint: what is wrong, where, and what would be right."""

    message: str
    mark: Mark | None = None
    hint: str | None = None


class CbuildError(Exception):
    """Base of the tree. ``str(error)`` is the message; ``hint`` and ``mark`` are shown below it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.mark = mark

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return (Diagnostic(str(self), self.mark, self.hint),)


class UsageError(CbuildError):
    exit_code = 2


class CompressfileError(UsageError):
    """All the diagnostics of one pass over a Compressfile, with the text they point into."""

    def __init__(self, diagnostics: Iterable[Diagnostic], texts: dict[str, str] | None = None) -> None:
        self._diagnostics = tuple(diagnostics)
        self.texts = texts or {}
        super().__init__("\n".join(d.message for d in self._diagnostics))

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self._diagnostics


class PluginError(CbuildError):
    exit_code = 2


class NodeFailed(CbuildError):
    exit_code = 1


class Incompatible(CbuildError):
    exit_code = 4


class StoreError(CbuildError):
    exit_code = 1


class Interrupted(CbuildError):
    exit_code = 130
