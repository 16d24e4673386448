"""What a build came to, gathered from its events, which it reports on the way."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ..execute.events import (
    BuildFinished,
    BuildStarted,
    Event,
    NodeFinished,
    NodeProgress,
    NodeRunning,
    TargetFinished,
    decode,
)
from .calls import Ended, Refused, cause

__all__ = ["Building"]

_APART = 0.5
"""Seconds between two reports, so that thousands of cached nodes do not flood the client."""

_OUTCOMES = {0: "built", 1: "a node failed", 3: "a gate failed"}

Report = Callable[[float, float | None, str | None], Awaitable[None]]


class Building:
    """Gets each line that ``cbuild build --json`` prints."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._nodes = 0
        self._ended = 0
        self._running: dict[str, float] = {}  # node → the share of its work that is done
        self._said = (0.0, 0.0)  # progress, and when
        self._failed: list[NodeFinished] = []
        self._targets: list[TargetFinished] = []
        self._finished: BuildFinished | None = None

    async def __call__(self, line: bytes) -> None:
        try:
            event = decode(line)
        except (msgspec.ValidationError, msgspec.DecodeError):  # of a newer cbuild
            return
        await self._tell(self._taken(event))

    def _taken(self, event: Event) -> str:
        """What to say of it; nothing of most."""
        match event:
            case BuildStarted():
                self._nodes = event.nodes
            case NodeProgress(total=total) if total > 0:
                self._running[event.node] = min(1.0, event.done / total)
                return f"running {event.node}"
            case NodeRunning():
                return f"running {event.label}, {event.starting + event.seconds:.0f} s"
            case NodeFinished():
                self._ended += 1
                self._running.pop(event.node, None)
                if event.status == "failed":
                    self._failed.append(event)
                return f"{event.status} {event.label}"
            case TargetFinished():
                self._targets.append(event)
            case BuildFinished():
                self._finished = event
        return ""

    async def _tell(self, said: str) -> None:
        """Progress must rise from one report to the next."""
        progress, now = self._ended + sum(self._running.values()), time.monotonic()
        before, when = self._said
        if said and progress > before and (now - when >= _APART or progress >= self._nodes):
            self._said = (progress, now)
            await self._report(progress, self._nodes or None, said)

    def outcome(self, ended: Ended) -> dict[str, Any]:
        """Raises Refused for a command that began no build, or did not come to its end."""
        if self._finished is None or ended.status not in _OUTCOMES:
            raise Refused(cause(ended))
        return {
            "outcome": _OUTCOMES[ended.status],
            "exit_code": ended.status,
            "targets": [
                _plain(each, "target", "status", "reason", "directory", "metrics", "warnings") for each in self._targets
            ],
            "failed": [_plain(each, "label", "cause", "error", "hint", "trace", "log") for each in self._failed],
            "counts": self._finished.counts,
            "seconds": self._finished.seconds,
            "said": ended.said,
        }


def _plain(event: Event, *names: str) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name in names if (value := getattr(event, name)) not in ("", None, [], {})}
