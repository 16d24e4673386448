"""A command whose file-system calls are counted below Python; at one of them it is given a fault, or dies."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from command import Ran, finish
from forked import Forked
from quick import Quick

__all__ = ["FAULTS", "FULL", "KILL", "SECONDS", "Call", "Fault", "Struck", "compiled"]

SECONDS = 60
"""After these, a command counts as hung. The slowest takes two on a loaded machine."""


class Fault(NamedTuple):
    """``number``: an errno, or 0 for SIGKILL. ``stays``: from then on, nothing in the project can be changed."""

    number: int
    stays: bool = False

    def __str__(self) -> str:
        return (errno.errorcode[self.number] if self.number else "SIGKILL") + (" for good" if self.stays else "")

    def possible(self, call: Call) -> bool:
        """Whether the system can give it there, and it is another case than at the next call.

        To die before a call that only looks leaves on the disk what dying before the next one does; likewise, a disk
        is full for good, or read-only, from the next change on.
        """
        if not self.number or self.stays or self.number in (errno.ENOSPC, errno.EROFS):
            return call.changes
        if self.number == errno.EMFILE:
            return call.name.startswith("open")
        return self.number != errno.EACCES or call.name not in OF_OPEN_FILES


class Call(NamedTuple):
    name: str
    changes: bool = False


KILL = Fault(0)
FULL = Fault(errno.ENOSPC, stays=True)
FAULTS = (
    KILL,
    *map(Fault, (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS)),
    *(Fault(number, stays=True) for number in (errno.ENOSPC, errno.EIO, errno.EROFS)),
)
OF_OPEN_FILES = {
    *("close", "copy_file_range", "fchmod", "fdatasync", "fdopendir", "flock", "fstat64", "fsync", "ftruncate64"),
    *("pread64", "pwrite64", "read", "readdir64", "sendfile64", "write"),
}  # who may, is asked when a file is opened


def compiled(place: Path) -> Path:
    """The library that is preloaded, below ``place``; the test is skipped without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): faults cannot be injected below Python")
    library = place / "shim.so"
    source = Path(__file__).parents[1] / "faults" / "shim.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Struck:
    """``root``: where the commands' logs lie."""

    def __init__(self, shim: Path, root: Path) -> None:
        self._shim, self._root = shim, root
        self._forked = Forked(root / "forked", shim, "shim_begin")

    def run(
        self, work: Quick, words: tuple[str, ...], at: int, fault: Fault, *, alone: bool = False, **more: str
    ) -> tuple[Ran, list[Call]]:
        """What the command did, and its calls in the project. ``alone``: as a user starts it. ``more``: variables."""
        log = self._root / "calls"
        log.unlink(missing_ok=True)
        shim: dict[str, object] = {"SHIM_ROOT": work.root, "SHIM_LOG": log, "SHIM_AT": at, "SHIM_FAULT": fault.number}
        shim |= {"SHIM_STAYS": 1} if fault.stays else {}
        shim |= {"LD_PRELOAD": self._shim} if alone else {}
        env = {name: str(value) for name, value in shim.items()} | more
        ran = finish(work.start(*words, **env), SECONDS) if alone else self._forked.run(work, words, env, SECONDS)
        lines = [line.split() for line in log.read_text().splitlines()]
        return ran, [Call(name, bool(changes)) for _, name, *changes in lines]

    def close(self) -> None:
        self._forked.close()
