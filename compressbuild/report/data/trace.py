"""A build as a Chrome trace, to be opened in Perfetto or chrome://tracing.

One track for each slot, a slice for each node that ran, counters for how many run and for the numbers they report,
a mark for each target. Format: "Trace Event Format", Google, 2016. Times are microseconds since the build began.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ...digest import promptly
from ...errors import UsageError
from ...execute.events import (
    BuildFinished,
    BuildStarted,
    Event,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    TargetFinished,
)

__all__ = ["ChromeTrace"]

_PID = 1


class ChromeTrace:
    """An observer and a context manager: it writes ``path`` when left. An interrupted build is drawn as far as it
    got."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._began: float | None = None
        self._now = 0.0
        self._running: dict[str, tuple[int, NodeStarted]] = {}  # node → its slot
        self._slots = 0
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> ChromeTrace:
        """UsageError if the file cannot be written: better before the work than after it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            raise UsageError(f"cannot write the trace '{self._path}': {error.strerror}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        for node in list(self._running):
            self._slice(node, "cancelled", {"own_seconds": 0.0, "starting_seconds": 0.0, "peak_rss_MiB": 0.0})
        with open(self._path, "wb", opener=promptly) as file:
            file.write(self.encoded())

    def __call__(self, event: Event) -> None:
        if self._began is None:
            self._began = event.time
        self._now = max(self._now, (event.time - self._began) * 1e6)
        if isinstance(event, BuildStarted):
            self._mark("build started", {"targets": event.targets, "nodes": event.nodes, "jobs": event.jobs})
        elif isinstance(event, NodeStarted):
            taken = {slot for slot, _ in self._running.values()}
            slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
            self._slots = max(self._slots, slot)
            self._running[event.node] = slot, event
            self._count()
        elif isinstance(event, NodeProgress) and event.node in self._running:
            self._values(event)
        elif isinstance(event, NodeFinished) and event.node in self._running:
            said = {key: value for key in ("cause", "error") if (value := getattr(event, key))}
            took = {"own_seconds": event.seconds, "starting_seconds": round(event.starting, 3)}
            self._slice(event.node, event.status, {**said, **took, "peak_rss_MiB": round(event.peak_rss / 2**20, 1)})
        elif isinstance(event, TargetFinished):
            self._mark(f"{event.target}: {event.status}", {"reason": event.reason, "metrics": event.metrics})
        elif isinstance(event, BuildFinished):
            self._mark("build finished", {"exit_code": event.exit_code, "counts": event.counts})

    def encoded(self) -> bytes:
        """The trace so far, as JSON."""
        names = [(0, "process_name", "cbuild")] + [(n, "thread_name", f"slot {n}") for n in range(1, self._slots + 1)]
        head = [{"ph": "M", "pid": _PID, "tid": tid, "name": key, "args": {"name": name}} for tid, key, name in names]
        return msgspec.json.encode({"traceEvents": [*head, *self._events], "displayTimeUnit": "ms"})

    def _slice(self, node: str, status: str, details: dict[str, Any]) -> None:
        slot, started = self._running.pop(node)
        begin = (started.time - (self._began or 0.0)) * 1e6
        args = {"status": status, **({"why": started.reason} if started.reason else {}), **details}
        self._events.append(
            {"ph": "X", "pid": _PID, "tid": slot, "ts": begin, "dur": self._now - begin, "cat": status}
            | {"name": started.label, "args": args}
        )
        self._count()

    def _count(self) -> None:
        self._counter("running nodes", {"nodes": len(self._running)})

    def _values(self, event: NodeProgress) -> None:
        label = self._running[event.node][1].label
        for name, value in event.values.items():
            if isinstance(value, int | float):
                self._counter(f"{label} {name}", {name: value})

    def _counter(self, name: str, values: dict[str, float]) -> None:
        self._events.append({"ph": "C", "pid": _PID, "ts": self._now, "name": name, "args": values})

    def _mark(self, name: str, args: dict[str, Any]) -> None:
        self._events.append({"ph": "i", "pid": _PID, "tid": 0, "ts": self._now, "s": "p", "name": name, "args": args})
