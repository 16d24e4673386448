"""The control groups that this process is in, in both versions: each limit above it holds, too.

In a container the file system shows the container's group as the root. A job of a scheduler or of systemd is in a group
further down, which ``/proc/self/cgroup`` names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["groups", "memory_limit", "quota"]

_MEMORY = (("memory", "memory.max"), ("memory", "memory.limit_in_bytes"))  # v2, v1


def groups(root: Path, controller: str) -> Iterator[Path]:
    """Directories that limit this process: its own group first, then those above it, of the second version and of the
    ``controller`` of the first. Some may not be there."""
    base = root / "sys" / "fs" / "cgroup"
    places = {base: "", base / controller: ""}
    for line in _text(root / "proc" / "self" / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            places[base] = path.strip("/")
        elif controller in names.split(","):
            places[base / controller] = path.strip("/")
    for mount, path in places.items():
        own = mount if ".." in path.split("/") else mount / path  # one above the container's is not to be seen
        while own != mount:
            yield own
            own = own.parent
        yield mount


def quota(root: Path = Path("/")) -> float | None:
    """CPUs that the groups' quotas of time are worth, None where there is none. They count time, not processors."""
    found = []
    for group in groups(root, "cpu"):
        words = _text(group / "cpu.max").split()  # v2: "150000 100000", or "max 100000"
        if len(words) != 2:
            words = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]  # v1: -1 is none
        if all(word.isdigit() and int(word) > 0 for word in words):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes that the groups allow, None where they do not limit them."""
    texts = [_text(group / name).strip() for controller, name in _MEMORY for group in groups(root, controller)]
    return min((int(text) for text in texts if text.isdigit()), default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # not Linux, or the other version of control groups
        return ""
