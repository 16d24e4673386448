"""What each publication of a target measured: ``.cbuild/history/<target>.jsonl``, one object a line, only appended to.

A line is written with one ``write`` and synced. A crash can leave a torn last line; readers skip it, and the next line
starts on a line of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Entry", "History"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """``time``: Unix seconds. ``artifact``: digest of what was published. ``keys``: node → the action key that made it.
    ``metrics``: name → value; ``ratios``: name → ratio to the baseline, where one was measured."""

    time: float
    target: str
    artifact: str
    keys: Mapping[str, str]
    metrics: Mapping[str, float | None]
    ratios: Mapping[str, float] = {}
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
    ) -> Entry:
        """From results of metric functions. A value that JSON cannot hold (NaN, infinite) becomes None."""
        return cls(
            time=time,
            target=target,
            artifact=artifact,
            keys=dict(keys),
            metrics={name: _finite(result.get("value")) for name, result in measured.items()},
            ratios={name: result["ratio"] for name, result in measured.items() if _finite(result.get("ratio"))},
            warnings=tuple(warnings),
        )


class History:
    """The files of a project. ``directory``: ``.cbuild/history``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, target: str) -> Path:
        return self._directory / f"{target}.jsonl"

    def append(self, entry: Entry) -> None:
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

    def read(self, target: str) -> tuple[list[Entry], int]:
        """(entries, oldest first; how many lines were torn or damaged and are left out)."""
        try:
            lines = self.path(target).read_bytes().splitlines()
        except FileNotFoundError:
            return [], 0
        found, bad = [], 0
        for line in filter(None, lines):
            try:
                found.append(msgspec.json.decode(line, type=Entry))
            except (msgspec.DecodeError, UnicodeDecodeError):
                bad += 1
        return found, bad


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None
