"""How far a build is and how long it may still take, from its events. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...execute.events import BuildStarted, Event, NodeFinished, NodeProgress, NodeStarted, NodeWorking

__all__ = ["Estimate", "Running"]


@dataclass(slots=True)
class Running:
    """A node at work. ``began``: when its own work did; None while its process starts, with ``preload`` imported.
    ``total`` is 0 until it says how far it is."""

    label: str
    started: float
    expected: float | None = None
    log: str | None = None
    preload: tuple[str, ...] = ()
    began: float | None = None
    done: float = 0.0
    total: float = 0.0
    values: dict[str, float | str | None] = field(default_factory=dict)

    def remaining(self, now: float) -> float | None:
        """Seconds: from its own progress, else from how long it took before; None if neither is known."""
        elapsed = 0.0 if self.began is None else now - self.began
        if self.total > 0 and self.done > 0:
            return max(0.0, elapsed * (self.total - self.done) / self.done)
        return None if self.expected is None else max(0.0, self.expected - elapsed)


class Estimate:
    """Fed with every event. ``nodes``: how many there are; ``ended``: how many have come to an end."""

    def __init__(self) -> None:
        self.nodes = 0
        self.ended = 0
        self.started = time.time()
        self.running: dict[str, Running] = {}
        self._jobs = 1
        self._expected: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, BuildStarted):
            self.nodes, self._jobs, self.started = event.nodes, max(1, event.jobs), event.time
            self._expected = dict(event.expected)
            self._waiting = dict(event.expected)
        elif isinstance(event, NodeStarted):
            self._waiting.pop(event.node, None)
            self.running[event.node] = Running(
                event.label, event.time, self._expected.get(event.node), event.log, event.preload
            )
        elif isinstance(event, NodeWorking) and event.node in self.running:
            self.running[event.node].began = event.time
        elif isinstance(event, NodeProgress) and event.node in self.running:
            node = self.running[event.node]
            node.done, node.total, node.values = event.done, event.total, event.values
        elif isinstance(event, NodeFinished):
            self.ended += 1
            self._waiting.pop(event.node, None)
            self.running.pop(event.node, None)

    def remaining(self, now: float) -> float | None:
        """Seconds to the end, if every node that is left has to run: its work shared by all jobs, but no less than what
        one running node still needs. Nodes never run before count as the mean of the others; None if none is known."""
        running = [node.remaining(now) for node in self.running.values()]
        known = [each for each in running if each is not None]
        samples = list(self._expected.values()) or known
        if not samples:
            return None
        mean = sum(samples) / len(samples)
        new = max(0, self.nodes - self.ended - len(self.running) - len(self._waiting))
        work = sum(self._waiting.values()) + new * mean + sum(mean if each is None else each for each in running)
        return max(work / self._jobs, max(known, default=0.0))
