"""What each publication of a target measured: ``.cbuild/history/<target>.jsonl``, one object a line, only appended to.

A line is written with one ``write``, and not synced. A crash can leave a torn last line; readers skip it, and the next
line starts on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..compressfile.spec import HISTORY
from ..digest import read_regular
from ..errors import CbuildError
from ..graph import GatePlan

__all__ = ["Entry", "History", "earlier"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """``time``: Unix seconds. ``artifact``: digest of what was published. ``keys``: node → the action key that made it.
    ``metrics``: name → value; ``ratios``: name → ratio to ``baseline``, where one was measured; ``intervals``: its 95 %
    interval."""

    time: float
    target: str
    artifact: str
    keys: Mapping[str, str]
    metrics: Mapping[str, float | None]
    ratios: Mapping[str, float] = {}
    intervals: Mapping[str, tuple[float, float]] = {}
    baseline: str | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        target: str,
        time: float,
        artifact: str,
        keys: Mapping[str, str],
        measured: Mapping[str, Mapping[str, Any]],
        warnings: Iterable[str] = (),
        baseline: str | None = None,
    ) -> Entry:
        """From results of metric functions. A value that JSON cannot hold (NaN, infinite) becomes None."""
        return cls(
            time=time,
            target=target,
            artifact=artifact,
            keys=dict(keys),
            metrics={name: _finite(result.get("value")) for name, result in measured.items()},
            ratios={name: result["ratio"] for name, result in measured.items() if _finite(result.get("ratio"))},
            intervals={name: found for name, result in measured.items() if (found := _interval(result)) is not None},
            baseline=baseline,
            warnings=tuple(warnings),
        )


class History:
    """The files of a project. ``directory``: ``.cbuild/history``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, target: str) -> Path:
        return self._directory / f"{target}.jsonl"

    def append(self, entry: Entry) -> OSError | None:
        """Add a line. What prevents it is returned, not raised: the artifact it speaks of is published."""
        try:
            self._append(entry)
        except OSError as error:
            return error
        return None

    def _append(self, entry: Entry) -> None:
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
        line = msgspec.json.encode(entry, order="deterministic") + b"\n"
        descriptor = os.open(self.path(entry.target), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(descriptor, line)  # not synced: a power failure may cost the last lines, and nothing else
        finally:
            os.close(descriptor)

    def before(
        self, target: str, gates: Iterable[GatePlan], artifact: str, measured: Mapping[str, Mapping[str, Any]]
    ) -> list[Entry]:
        """What was recorded before this result, if a gate asks for it."""
        if all(gate.spec.against != HISTORY for gate in gates):
            return []
        return earlier(self.read(target)[0], artifact, measured)

    def read(self, target: str) -> tuple[list[Entry], int]:
        """(entries, oldest first; how many lines were torn or damaged and are left out)."""
        try:
            lines = read_regular(self.path(target)).splitlines()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise CbuildError(
                f"the history of '{target}' cannot be read: {self.path(target)}: {error.strerror or error}",
                hint="if it is damaged, move the file away: the next publication starts another",
            ) from error
        found, bad = [], 0
        for line in filter(None, lines):
            try:
                found.append(msgspec.json.decode(line, type=Entry))
            except (msgspec.DecodeError, UnicodeDecodeError):
                bad += 1
        return found, bad


def earlier(entries: Iterable[Entry], artifact: str, measured: Mapping[str, Mapping[str, Any]]) -> list[Entry]:
    """What was recorded before this very result: building again what is published compares with what came before it,
    as the first time."""
    found = list(entries)
    now = Entry.of("", 0.0, artifact, {}, measured)
    while found and (found[-1].artifact, found[-1].metrics) == (now.artifact, now.metrics):
        found.pop()
    return found


def _interval(result: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = _finite(result.get("ratio_low")), _finite(result.get("ratio_high"))
    return (low, high) if low and high else None


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None
