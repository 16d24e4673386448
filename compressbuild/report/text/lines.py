"""What the console says of a node, as plain lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...digest import read_regular
from ...execute.events import NodeFinished, NodeStarted
from ...execute.failure import RAISED
from ...words import duration

__all__ = ["failure_lines", "finished_line", "log_tail", "started_line"]

_TAIL = 20  # lines of a failed node's log that are shown
_WIDE = 400  # characters of one of them


def started_line(event: NodeStarted) -> str:
    reason = f"  ({event.reason})" if event.reason else ""
    return f"{'running':9} {event.label}{reason}"


def finished_line(event: NodeFinished) -> str:
    """``built     slim/prune.channels  3.1 s``."""
    seconds = f"  {duration(event.seconds)}" if event.seconds else ""
    cause = f"  {event.cause}" if event.cause else ""
    return f"{event.status:9} {event.label}{seconds}{cause}"


def failure_lines(event: NodeFinished) -> Iterator[str]:
    """What is needed to fix a failed node: error, hint, the user's frames, the end of its log and where it is."""
    yield finished_line(event)
    yield f"  error: {_printable(event.error)}"
    if event.hint:
        yield f"  hint: {_printable(event.hint)}"
    if event.trace:
        yield from (f"  {_printable(line)}" for line in event.trace.splitlines())
    if event.log:
        tail, omitted = log_tail(Path(event.log))
        if omitted:
            yield f"  | … {omitted} lines before"
        yield from (f"  | {line}" for line in tail)
        yield f"  log: {_short(event.log)}"


def log_tail(path: Path, lines: int = _TAIL) -> tuple[list[str], int]:
    """The last ``lines`` of what a node printed, and how many came before. Without the traceback of what its
    function raised; a report shows the part that matters."""
    try:
        text = read_regular(path).decode("utf-8", errors="replace")
    except OSError:  # a node that never got a process has no log
        return [], 0
    printed = text.partition(RAISED)[0].rstrip().splitlines()
    shown = [_printable(line[:_WIDE]) for line in printed[-lines:]]
    return shown, len(printed) - len(shown)


def _printable(line: str) -> str:
    """What a node says can hold anything, and a terminal obeys it."""
    return "".join(c if c.isprintable() or c == "\t" else "�" for c in line)


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
