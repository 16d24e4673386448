"""A build's progress in a notebook: one output that is replaced, not a line for each event."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from ..execute.events import Event, NodeFinished, Observer
from ..report.text.estimate import Estimate, Running
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
    """An observer. Failed nodes stay in the output; the rest is gone when the build ends."""

    def __init__(self) -> None:
        self._ipython: Any = sys.modules["IPython"]
        self._estimate = Estimate()
        self._failed: list[str] = []
        self._last = 0.0
        self._handle = self._ipython.display.display(self._html(""), display_id=True)

    def __call__(self, event: Event) -> None:
        self._estimate(event)
        if isinstance(event, NodeFinished) and event.status == "failed":
            self._failed.append(f"{event.label} {event.cause}: {event.error}")
        if time.monotonic() - self._last > _EVERY:
            self._last = time.monotonic()
            self._handle.update(self._html(self._shown()))

    def close(self) -> None:
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
    share = f" {running.done:g}/{running.total:g}" if running.total else ""
    return f"{running.label}{share} {duration(max(0.0, time.time() - running.started))}"
