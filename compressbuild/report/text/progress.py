"""Observers that show a build while it runs: live on a terminal, plain lines elsewhere, or JSON lines.

What a build came to in the end is not theirs to say; the command does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ...execute.events import (
    BuildStarted,
    EnvironmentStatus,
    Event,
    MachineStatus,
    NodeFinished,
    NodeRetried,
    NodeRunning,
    NodeStarted,
    Sending,
    encode,
)
from ...execute.logfile import last_line
from ...words import duration, number
from .estimate import Estimate, Running
from .lines import (
    counted_text,
    environment_line,
    failure_lines,
    finished_line,
    machine_line,
    retried_line,
    running_line,
    started_line,
    starting,
    values_text,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["JsonProgress", "LiveProgress", "PlainProgress"]

_REFRESH = 8  # per second


def _lines(event: Event, verbose: bool) -> Iterable[str]:
    """What scrolls by: nodes that were built or failed; with ``verbose`` also why each runs, and those that do not."""
    if isinstance(event, NodeFinished):
        if event.status == "failed":
            return failure_lines(event)
        if verbose or event.status in ("built",):
            return (finished_line(event),)
    elif isinstance(event, NodeRetried):
        return (retried_line(event),)
    elif isinstance(event, NodeStarted):
        return (started_line(event),) if verbose else ()
    elif isinstance(event, EnvironmentStatus):
        return (environment_line(event),)
    elif isinstance(event, MachineStatus):
        return (machine_line(event),)
    return ()


class JsonProgress:
    """Every event as a line of JSON, at once; nothing else."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: Event) -> None:
        self._file.write(encode(event).decode())
        self._file.flush()


class PlainProgress:
    """A line for each node that ran; more for one that failed, and for one that runs for long."""

    def __init__(self, file: TextIO, *, verbose: bool = False) -> None:
        self._file = file
        self._verbose = verbose

    def __call__(self, event: Event) -> None:
        lines = (running_line(event),) if isinstance(event, NodeRunning) else _lines(event, self._verbose)
        if text := "".join(f"{line}\n" for line in lines):
            self._file.write(text)
            self._file.flush()


class LiveProgress:
    """A row for each running node, and one for the build, below the lines that scroll by. A context manager.

    A thread of rich's refreshes the rows; it does no more than draw.
    """

    def __init__(self, file: TextIO | None = None, *, verbose: bool = False, terminal: bool | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._verbose = verbose
        self._estimate = Estimate()
        self._lock = threading.Lock()
        self._sending = ""
        self._console = Console(file=file, markup=False, highlight=False, emoji=False, force_terminal=terminal)
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=_REFRESH, transient=True)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Sending):
            self._sending = f"sending results to the remote cache: {event.done} of {event.total}"
            self._sending += f", {number(event.size, 'B')}"
        with self._lock:
            self._estimate(event)
        if isinstance(event, BuildStarted):
            self._live.refresh()  # what it drew before knew of no nodes
        style = "red" if isinstance(event, NodeFinished) and event.status == "failed" else None
        for line in _lines(event, self._verbose):
            self._console.print(line, style=style, soft_wrap=True)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        now = time.time()
        room = max(1, self._console.size.height - 3)
        with self._lock:
            nodes = list(self._estimate.running.values())
            rows = [self._row(node, now) for node in nodes[:room]]
            footer = self._footer(now, hidden=len(nodes) - len(rows))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=3)
        for row in rows:
            table.add_row(*row)
        return Group(table, Text(footer, no_wrap=True, overflow="ellipsis"))

    def _row(self, node: Running, now: float) -> list[Any]:
        from rich.progress_bar import ProgressBar

        if node.began is None:
            wait = ProgressBar(total=None, width=24, pulse=True, animation_time=now)
            return [node.label, wait, "", duration(now - node.started), "", starting(node.preload)]
        counted = node.total > 0
        bar = ProgressBar(
            total=node.total if counted else None, completed=node.done, width=24, pulse=not counted, animation_time=now
        )
        values = values_text(node.values) or (last_line(Path(node.log)) if node.log else "")
        left = node.remaining(now)
        ahead = f"{duration(left)} left" if left else ""
        return [node.label, bar, counted_text(node.done, node.total), duration(now - node.began), ahead, values]

    def _footer(self, now: float, hidden: int) -> str:
        estimate = self._estimate
        if self._sending:
            return self._sending
        parts = [f"{estimate.ended} of {estimate.nodes} nodes", duration(now - estimate.started)]
        left = estimate.remaining(now)
        if left:
            parts.append(f"at most about {duration(left)} left")
        if hidden:
            parts.append(f"{hidden} more run")
        return " · ".join(parts)
