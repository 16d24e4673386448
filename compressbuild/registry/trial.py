"""A first look at manifests, in a process that they may end, hang or crash: their code runs in the engine's own later.

What was found is remembered by the files of the plugin's directory, so a trial is made once.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec

import msgspec

from ..noop import signature
from .installed import EntryPoint

__all__ = ["Tried", "aside", "tried"]

_TOGETHER = 2.0  # seconds for the answer of all; sound manifests take some milliseconds
_LIMIT = 4.0  # seconds for each, side by side, if they did not answer together
_AGAIN = 600.0  # seconds
_SILENT = "does not answer"
_ANSWERED = b"answered"


class Tried(msgspec.Struct, frozen=True):
    """``files``: of the plugin's directory, as they were. ``problem``: why it cannot be asked; empty if it can.
    ``until``: Unix time after which it is tried again, for a busy machine may have kept it from answering."""

    files: dict[str, tuple[int, int, int, int]]
    problem: str = ""
    until: float = math.inf

    def current(self, point: EntryPoint) -> bool:
        return bool(self.files) and self.files == _files(point) and time.time() < self.until


def tried(
    points: Iterable[EntryPoint], known: Mapping[str, Tried], ask: Callable[[list[EntryPoint]], object]
) -> dict[str, Tried]:
    """By ``module:attribute``, whether each can be asked. ``ask``: what will be done with them later."""
    found = {p.value: seen for p in points if (seen := known.get(p.value)) is not None and seen.current(p)}
    new = [p for p in points if p.value not in found]
    before = {point.value: _files(point) for point in new}
    strange = [p for p in new if p.value.partition(":")[0] not in sys.modules]
    problems: dict[str, str] = {}
    if strange and _may_fork() and any(_trials(ask, [strange], _TOGETHER)):
        found_wrong = _trials(ask, [[point] for point in strange], _LIMIT)
        problems = {point.value: problem for point, problem in zip(strange, found_wrong, strict=True)}
    for point in new:
        problem = problems.get(point.value, "")
        until = time.time() + _AGAIN if problem.startswith(_SILENT) else math.inf
        found[point.value] = Tried(before[point.value], problem, until)
    return found


def _may_fork() -> bool:
    """Only a process with one thread is safe to fork. Another asks at once, and remembers only if it comes back."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _files(point: EntryPoint) -> dict[str, tuple[int, int, int, int]]:
    """The Python files beside the top-level module, which is found without being imported."""
    top = point.value.partition(":")[0].partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return {}
    if spec is None or not spec.origin or not os.path.isabs(spec.origin):
        return {}
    folder = os.path.dirname(spec.origin)
    if os.path.basename(spec.origin) != "__init__.py":
        return {spec.origin: signature(spec.origin)}
    names = [name for name in os.listdir(folder) if name.endswith(".py")]
    return {path: signature(path) for path in (os.path.join(folder, name) for name in sorted(names))}


def _trials(ask: Callable[[list[EntryPoint]], object], groups: list[list[EntryPoint]], seconds: float) -> list[str]:
    """What went wrong with each group in a fork of this process, all at once; empty for one that answered."""
    children: list[tuple[int, int]] = []
    answers: list[bytes | None] = []
    try:
        for points in groups:
            children.append(_fork(ask, points))
        deadline = time.monotonic() + seconds
        answers += [_read(reading, pid, deadline, seconds) for pid, reading in children]
    finally:
        statuses = [_end(pid, reading) for pid, reading in children]
    return [_problem(answer, status, seconds) for answer, status in zip(answers, statuses, strict=True)]


def _fork(ask: Callable[[list[EntryPoint]], object], points: list[EntryPoint]) -> tuple[int, int]:
    """A process that asks them, and where its answer can be read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child()
            ask(points)
            os.write(writing, _ANSWERED)
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


def _end(pid: int, reading: int) -> int:
    """Kill what is left of it; its wait status."""
    os.close(reading)
    for kill in (os.killpg, os.kill):  # it may not have come to have a group of its own
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _problem(answered: bytes | None, status: int, seconds: float) -> str:
    if answered is None:
        return f"{_SILENT}: its manifest was stopped after {seconds:g} s"
    if answered == _ANSWERED:
        return ""
    if os.WIFSIGNALED(status):
        return f"crashes the process that imports its manifest ({signal.Signals(os.WTERMSIG(status)).name})"
    return f"ends the process that imports its manifest (exit status {os.WEXITSTATUS(status)})"


def _child() -> None:
    """A process of its own group, that says nothing."""
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _read(descriptor: int, pid: int, deadline: float, seconds: float) -> bytes | None:
    """All that comes until the other end is closed; None if it is not in time. On a busy machine it may take longer."""
    data = b""
    while data != _ANSWERED:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready and _waits_its_turn(pid, seconds / 2):
            deadline = time.monotonic() + 0.1
            continue
        if not ready:
            return None
        chunk = os.read(descriptor, 64)
        if not chunk:
            return data
        data += chunk
    return data


def _waits_its_turn(pid: int, seconds: float) -> bool:
    """Whether a process would run, or waits for a disk, and has had less than so much of a processor."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *rest = file.read().rpartition(")")[2].split()
    except OSError:
        return False
    return state in "RD" and (int(rest[10]) + int(rest[11])) / os.sysconf("SC_CLK_TCK") < seconds


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What manifests print goes to standard error: standard output is the command's, which may be JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
