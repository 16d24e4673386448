"""What the console says of a node, as plain lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...digest import read_regular
from ...execute.events import EnvironmentStatus, MachineStatus, NodeFinished, NodeRetried, NodeRunning, NodeStarted
from ...execute.failure import RAISED
from ...words import duration

__all__ = [
    "counted_text",
    "environment_line",
    "failure_lines",
    "finished_line",
    "log_tail",
    "machine_line",
    "retried_line",
    "running_line",
    "started_line",
    "starting",
    "values_text",
]

_TAIL = 20  # lines of a failed node's log that are shown
_WIDE = 400  # characters of one of them
_NAMED = 3  # packages of a worker that are named
_SLOW = 0.5  # seconds that a process may take to start unmentioned


def environment_line(event: EnvironmentStatus) -> str:
    """``making    environment litert  12 distributions of …``."""
    seconds = f"  {duration(event.seconds)}" if event.seconds else ""
    need = "; nothing has to run in it now" if event.status == "missing" else ""
    detail = f"  {event.detail}" if event.detail else ""
    return f"{event.status:9} environment {event.environment}{seconds}{detail}{need}"


def machine_line(event: MachineStatus) -> str:
    """``waiting   machine slurm://gpu  job 12 is pending (Resources)``."""
    return f"{event.status:9} machine {event.machine}" + (f"  {_printable(event.detail)}" if event.detail else "")


def started_line(event: NodeStarted) -> str:
    reason = f"  ({event.reason})" if event.reason else ""
    return f"{'running':9} {event.label}{reason}"


def finished_line(event: NodeFinished) -> str:
    """``built     slim/prune.channels  3.1 s``, with ``(+ 19 s starting the worker for torch)`` if that took long."""
    seconds = f"  {duration(event.seconds)}" if event.seconds else ""
    waited = _waited(event.starting, event.preload)
    cause = f"  {event.cause}" if event.cause else ""
    return f"{event.status:9} {event.label}{seconds}{waited}{cause}"


def retried_line(event: NodeRetried) -> str:
    """``again     b/distill  unavailable: the connection to edge was cut``."""
    return f"{'again':9} {event.label}  {event.cause}: {_printable(event.error)}"


def running_line(event: NodeRunning) -> str:
    """What a node does that has run for long: ``running   slim/finetune  1:00 of about 3:20  3/10  loss 0.25``."""
    if not event.seconds:
        return f"{'running':9} {event.label}  {duration(event.starting)} {starting(event.preload)}"
    expected = f" of about {duration(event.expected)}" if event.expected is not None else ""
    waited = _waited(event.starting, event.preload)
    said = f"| {event.said}" if event.said and not event.values else ""
    counted = counted_text(event.done, event.total)
    parts = [duration(event.seconds) + expected + waited, counted, values_text(event.values), said]
    return f"{'running':9} {event.label}  " + "  ".join(part for part in parts if part)


def _waited(seconds: float, preload: tuple[str, ...]) -> str:
    return f" (+ {duration(seconds)} {starting(preload)})" if seconds >= _SLOW else ""


def starting(preload: tuple[str, ...]) -> str:
    """``starting the worker for torch, onnx``: by the packages that it imports first."""
    names = list(dict.fromkeys(module.partition(".")[0] for module in preload))
    more = ", …" if len(names) > _NAMED else ""
    return "starting the worker" + (f" for {', '.join(names[:_NAMED])}{more}" if names else "")


def counted_text(done: float, total: float) -> str:
    """``3/10`` of things, ``33 %`` of a share, or ``3 so far`` of an unknown total."""
    if total <= 0:
        return f"{done:g} so far" if done > 0 else ""
    is_counted = total != 1 and float(done).is_integer() and float(total).is_integer()
    return f"{done:g}/{total:g}" if is_counted else f"{100 * done / total:.0f} %"


def values_text(values: Mapping[str, float | str | None]) -> str:
    """What a node shows beside its progress: ``loss 0.25  lr nan``."""
    return "  ".join(f"{_printable(name)} {_shown(value)}" for name, value in values.items())


def _shown(value: float | str | None) -> str:
    return "nan" if value is None else _printable(value) if isinstance(value, str) else f"{value:.4g}"


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
