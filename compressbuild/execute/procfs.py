"""What Linux tells about processes: the tree below one, its memory, and whether the kernel ran out.

Elsewhere (no ``/proc``) the readers answer "nothing known": no children, 0 bytes, 0 kills.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "children",
    "descendants",
    "die_with_parent",
    "flush_c_streams",
    "name_process",
    "oom_kills",
    "peak_rss",
    "thread_count",
    "tree_memory",
]

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36  # linux/prctl.h


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(signum: int) -> None:
    """Have the kernel send ``signum`` to this process when its parent dies; 0: no longer."""
    _prctl(_PR_SET_PDEATHSIG, signum)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none escapes."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def name_process(name: str) -> None:
    """The name that ``ps`` and ``top`` show (15 bytes)."""
    _prctl(_PR_SET_NAME, name.encode()[:15])


def flush_c_streams() -> None:
    """Flush what libraries wrote with printf; ``os._exit`` would lose it."""
    ctypes.CDLL(None).fflush(None)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:  # the process is gone, or there is no /proc
        return ""


def children(pid: int) -> list[int]:
    """Direct children of a process, of all its threads."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, parents before their children, without itself."""
    found: list[int] = []
    level = children(pid)
    while level:
        found += level
        level = [child for parent in level for child in children(parent)]
    return found


def _kib(text: str, *fields: str) -> int:
    total = 0
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in fields:
            total += int(value.split()[0])
    return total * 1024


def peak_rss() -> int:
    """Highest resident size of this process, bytes. VmHWM: unlike ``ru_maxrss`` it forgets the parent's peak."""
    return _kib(_read("/proc/self/status"), "VmHWM")


def tree_memory(pid: int, limit: int) -> int:
    """Bytes that ``pid`` and its descendants hold, resident and swapped.

    The sum of their resident sizes counts shared pages once for each process; only if that exceeds ``limit`` are
    the proportional sizes read, which are exact and 100 times dearer.
    """
    processes = [pid, *descendants(pid)]
    total = sum(_kib(_read(f"/proc/{each}/status"), "VmRSS", "VmSwap") for each in processes)
    if total <= limit or len(processes) == 1:
        return total
    return _proportional(processes) or total


def _proportional(processes: Iterable[int]) -> int:
    return sum(_kib(_read(f"/proc/{each}/smaps_rollup"), "Pss", "SwapPss") for each in processes)


def thread_count() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _cgroup_counters() -> list[str]:
    """Files of this process's cgroups that hold a line ``oom_kill N`` (versions 1 and 2)."""
    found = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found.append(f"/sys/fs/cgroup{path}/memory.events")
        elif "memory" in controllers.split(","):
            found.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    return [file for file in found if Path(file).exists()]


_counters: list[str] = []


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, here and in this cgroup. Compare two readings."""
    if not _counters:
        _counters.extend(["/proc/vmstat", *_cgroup_counters()])
    total = 0
    for file in _counters:
        for line in _read(file).splitlines():
            if line.startswith("oom_kill "):
                with contextlib.suppress(ValueError):
                    total += int(line.split()[1])
    return total
