"""What nodes at work last said, and when to say so: a node that runs for long is not silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .events import NodeRunning
from .logfile import last_line

__all__ = ["AFTER", "Heartbeat"]

AFTER = (10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds after the start of a node at which it is reported; after the last, at each multiple of that."""


@dataclass(slots=True)
class _Running:
    """``began``: when its process ran; None while that starts. ``beat``: when it is next reported."""

    started: float
    beat: float
    log: Path
    preload: tuple[str, ...]
    began: float | None = None
    done: float = 0.0
    total: float = 0.0
    values: dict[str, float | str | None] = field(default_factory=dict)


class Heartbeat:
    """Nodes by position. ``after``: when a node is reported, as :data:`AFTER` is."""

    def __init__(self, after: Sequence[float] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._after = tuple(AFTER if after is None else after)
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self.expected: Mapping[str, float] = {}

    def started(self, node: str, log: Path, preload: tuple[str, ...]) -> None:
        now = self._clock()
        self._running[node] = _Running(now, now + self._after[0], log, preload)

    def began(self, node: str) -> float:
        """Its process runs. The seconds that took."""
        running = self._running[node]
        running.began = self._clock()
        return running.began - running.started

    def progress(self, node: str, done: float, total: float, values: Mapping[str, float | str | None]) -> None:
        running = self._running[node]
        running.done, running.total, running.values = done, total, dict(values)

    def ended(self, node: str) -> tuple[float, tuple[str, ...]]:
        """How long its process took to start, and what that imports. Nothing for a node that had none."""
        running = self._running.pop(node, None)
        if running is None:
            return 0.0, ()
        began = self._clock() if running.began is None else running.began
        return began - running.started, running.preload

    def pause(self) -> float | None:
        """Seconds until a node has to be reported; None if none runs."""
        beats = [running.beat for running in self._running.values()]
        return max(0.0, min(beats) - self._clock()) if beats else None

    def due(self) -> Iterator[NodeRunning]:
        """The nodes that have to be reported now, each once."""
        now = self._clock()
        for node, running in self._running.items():
            if running.beat <= now:
                running.beat = running.started + self._next(now - running.started)
                yield self._event(node, running, now)

    def _next(self, elapsed: float) -> float:
        """The first time of a report after ``elapsed``."""
        last = self._after[-1]
        return next((each for each in self._after if each > elapsed), (elapsed // last + 1) * last)

    def _event(self, node: str, running: _Running, now: float) -> NodeRunning:
        began = now if running.began is None else running.began
        return NodeRunning(
            node=node,
            label=node,
            starting=began - running.started,
            seconds=now - began,
            expected=self.expected.get(node),
            preload=running.preload,
            done=running.done,
            total=running.total,
            values=running.values,
            said=last_line(running.log),
        )
