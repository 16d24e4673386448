"""A tool's process: timed, and ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .place import Place


class Ended(NamedTuple):
    """``seconds``: elapsed. ``cpu``: seconds of the processor, user and system, of the process and all its descendants
    that were waited for. ``status``: None if it took too long, and was killed."""

    seconds: float
    cpu: float
    status: int | None


class Process:
    """Its output goes to ``output.txt`` beside the project."""

    def __init__(self, words: Sequence[str], place: Place) -> None:
        self.output = place.root / "output.txt"
        with self.output.open("wb") as file:
            self._began = time.perf_counter()
            self._process = subprocess.Popen(
                words,
                cwd=place.project,
                env=place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, limit: float) -> Ended:
        """Wait for its end, at most ``limit`` seconds. A loop that polls would round what is short."""
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), self._send_all()))
        timer.start()
        try:
            _, status, used = os.wait4(self._process.pid, 0)
        except KeyboardInterrupt:
            self.kill()
            raise
        finally:
            seconds = time.perf_counter() - self._began
            timer.cancel()
        timer.join()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(seconds, used.ru_utime + used.ru_stime, None if late.is_set() else self._process.returncode)

    def kill_once(self, ready: Callable[[], bool], limit: float) -> bool:
        """Kill it as soon as ``ready``: False if it ended before, or took longer than ``limit`` seconds."""
        try:
            while self._process.poll() is None and time.perf_counter() - self._began < limit:
                if ready():
                    return True
                time.sleep(0.005)
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """The process and its descendants."""
        self._send_all()
        self._process.wait()

    def _send_all(self) -> None:
        """Kill it and its descendants, stopped first so that none starts another in between."""
        stopped: list[int] = []
        while new := [pid for pid in descendants(self._process.pid) if pid not in stopped]:
            for pid in new:
                _send(pid, signal.SIGSTOP)
            stopped += new
        for pid in stopped:
            _send(pid, signal.SIGKILL)

    def said(self) -> str:
        """The last line of its output."""
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no output"


def descendants(root: int) -> list[int]:
    """``root``, if it lives, and all below it."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in table.splitlines()]
    living = {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}
    found = [root] if root in living else []
    for above in found:
        found += [pid for pid, parent in living.items() if parent == above]
    return found


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # it has ended by itself
        return
