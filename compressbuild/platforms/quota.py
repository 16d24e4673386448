"""How many CPUs a container may keep busy: the quota of its control group, which counts time, not processors."""

from __future__ import annotations

from pathlib import Path

__all__ = ["quota"]


def quota(root: Path = Path("/")) -> float | None:
    """CPUs that the control group's quota of time is worth, None where there is none. Read below ``root``."""
    base = root / "sys" / "fs" / "cgroup"
    found = _text(base / "cpu.max").split()  # v2: "150000 100000", or "max 100000"
    if len(found) != 2:
        found = [_text(base / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]  # v1: -1 is none
    if not all(part.isdigit() and int(part) > 0 for part in found):
        return None
    allowed, period = map(int, found)
    return allowed / period


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # not Linux, or the other version of control groups
        return ""
