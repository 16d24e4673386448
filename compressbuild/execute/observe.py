"""From what the scheduler does to the event stream, for every observer at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from ..digest import Digest
from ..graph import Graph, Node
from ..plan import Explanation, Traces, say
from . import events
from .executor import Finished, Progress
from .heartbeat import Heartbeat
from .logfile import log_path
from .outcome import Outcome

__all__ = ["Observe"]


class Observe:
    """Names logs and sends events. ``own_dirs``: directories of the project that the engine itself writes.
    ``heartbeat``: when long nodes are reported."""

    def __init__(
        self,
        logs: Path,
        *,
        own_dirs: tuple[str, ...],
        observers: Sequence[events.Observer],
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.own_dirs = own_dirs
        self._logs = logs
        self._checkpoints = logs.parent / "checkpoints"
        self._observers = observers
        self._heartbeat = heartbeat or Heartbeat()
        self._one = RLock()  # threads that wait for machines have events, too; a signal may come within one

    def emit(self, event: events.Event) -> None:
        with self._one:
            for observer in self._observers:
                observer(event)

    def machine(self, address: str, detail: str) -> None:
        """What a scheduler has another machine wait for; empty once it is there."""
        self.emit(events.MachineStatus(machine=address, status="waiting" if detail else "ready", detail=detail))

    def checkpoint_path(self, key: Digest) -> Path:
        return self._checkpoints / key

    def drop_checkpoint(self, key: Digest) -> None:
        """The node has a result: what would have let it go on is not needed."""
        path = f"{self._checkpoints}/{key}"
        if os.path.lexists(path):
            shutil.rmtree(path, ignore_errors=True)

    def log_path(self, node: Node) -> Path:
        return log_path(self._logs, node.position)

    def began(self, graph: Graph, targets: Sequence[str], traces: Traces, jobs: int) -> None:
        needed = [graph.nodes[i] for i in sorted(graph.needed(targets))]
        known = {node.position: last.seconds for node in needed if (last := traces.get(node.position)) is not None}
        self._heartbeat.expected = known
        self.emit(events.BuildStarted(targets=tuple(targets), nodes=len(needed), jobs=jobs, expected=known))

    def started(self, node: Node, why: Explanation, log: Path, preload: tuple[str, ...]) -> None:
        self._heartbeat.started(node.position, log, preload)
        self.emit(
            events.NodeStarted(
                node=node.position, label=node.position, reason=_reason(why), log=str(log), preload=preload
            )
        )

    def working(self, node: Node) -> float:
        """Its process runs, or the engine's own work for it begins. The seconds that took."""
        starting = self._heartbeat.began(node.position)
        self.emit(events.NodeWorking(node=node.position, starting=starting))
        return starting

    def progress(self, node: Node, message: Progress) -> None:
        self._heartbeat.progress(node.position, message.done, message.total, message.values)
        self.emit(
            events.NodeProgress(node=node.position, done=message.done, total=message.total, values=dict(message.values))
        )

    def stopped(self, node: Node, end: Finished | None = None) -> None:
        """What it did is void. It starts once more, or comes to another end. ``end``: how it failed, if it did."""
        self._heartbeat.ended(node.position)
        if end is not None and end.cause != "ok":
            error = end.result.error or end.detail
            self.emit(events.NodeRetried(node=node.position, label=node.position, cause=end.cause, error=error))

    @property
    def pause(self) -> float | None:
        """Seconds until :meth:`beat` has something to report; None if nothing runs."""
        return self._heartbeat.pause()

    def beat(self) -> None:
        """Report the nodes that have run for long."""
        for event in self._heartbeat.due():
            self.emit(event)

    def finished(self, node: Node, outcome: Outcome) -> None:
        result, failure = outcome.result, outcome.failure
        starting, preload = self._heartbeat.ended(node.position)
        common: dict[str, Any] = {"node": node.position, "label": node.position, "status": outcome.status}
        if failure is not None:
            log = str(failure.log) if failure.log is not None else None
            common |= {
                "cause": failure.cause,
                "error": failure.message,
                "hint": failure.hint,
                "trace": failure.trace,
                "log": log,
            }
        elif result is not None and outcome.status == "built":
            common |= {"seconds": result.seconds, "peak_rss": result.peak_rss}
            common |= {"starting": starting, "preload": preload}
        self.emit(events.NodeFinished(**common))

    def target(
        self,
        name: str,
        status: str,
        reason: str,
        directory: str | None,
        metrics: Iterable[tuple[str, Any]],
        warnings: Iterable[str] = (),
    ) -> None:
        values: dict[str, float | None] = {key: value for key, value in metrics if isinstance(value, int | float)}
        self.emit(
            events.TargetFinished(
                target=name,
                status=status,
                reason=reason,
                directory=directory,
                metrics=values,
                warnings=list(warnings),
            )
        )

    def sending(self, done: int, total: int, size: int) -> None:
        """Results go to the remote cache."""
        self.emit(events.Sending(done=done, total=total, size=size))

    def ended(self, exit_code: int, seconds: float, counts: dict[str, int]) -> None:
        self.emit(events.BuildFinished(exit_code=exit_code, seconds=seconds, counts=counts))


def _reason(why: Explanation) -> str:
    if why.changes:
        more = f" and {len(why.changes) - 1} more" if len(why.changes) > 1 else ""
        return say(why.changes[0]) + more
    return why.detail or why.reason
