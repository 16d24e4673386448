"""A build's progress in a notebook: one output that is replaced, not a line for each event."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from ..execute.events import Event, NodeFinished, Observer
from ..report.text.estimate import Estimate, Running
from ..report.text.lines import counted_text
from ..report.text.progress import PlainProgress
from ..words import duration

__all__ = ["watching"]

_EVERY = 0.25  # seconds between two updates of the output


@contextmanager
def watching(progress: bool | None) -> Iterator[list[Observer]]:
    """Who watches a build. None: a notebook, if this is one."""
    shell = _kernel() if progress is not False else None
    if shell is not None:
        display = _Display()
        try:
            yield [display]
        finally:
            display.close()
    elif progress:
        yield [PlainProgress(sys.stderr)]
    else:
        yield []


def _kernel() -> Any:
    """The shell of a notebook's kernel; None elsewhere. Nothing is imported: a kernel has IPython already."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell if shell is not None and hasattr(shell, "kernel") else None


class _Display:
    """An observer. Failed nodes stay in the output; the rest is gone when the build ends.

    A thread draws: events come in bursts and may then stay away for long, while the time that a node takes goes on.
    """

    def __init__(self) -> None:
        self._ipython: Any = sys.modules["IPython"]
        self._estimate = Estimate()
        self._failed: list[str] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._handle = self._ipython.display.display(self._html(""), display_id=True)
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._estimate(event)
            if isinstance(event, NodeFinished) and event.status == "failed":
                self._failed.append(f"{event.label} {event.cause}: {event.error}")

    def _draw(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._lock:
                text = self._shown()
            self._handle.update(self._html(text))

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._handle.update(self._html("".join(f"<div>failed: {escape(line)}</div>" for line in self._failed)))

    def _shown(self) -> str:
        at = self._estimate
        running = "".join(f"<div>{escape(_line(each))}</div>" for each in at.running.values())
        failed = "".join(f"<div>failed: {escape(line)}</div>" for line in self._failed)
        return (
            f"<progress value='{at.ended}' max='{max(1, at.nodes)}'></progress> {at.ended} of {at.nodes} nodes"
            f"{running}{failed}"
        )

    def _html(self, text: str) -> Any:
        return self._ipython.display.HTML(text)


def _line(running: Running) -> str:
    share = f" {counted_text(running.done, running.total)}" if running.total else ""
    return f"{running.label}{share} {duration(max(0.0, time.time() - running.started))}"
