"""A node at work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..plan import Action
from ..store import Lock, Store
from .inputs import Taken

__all__ = ["Run", "first_unmet", "laid_out", "taken_down"]

_WILD = frozenset("*?[")


def laid_out(base: Path) -> tuple[Path, Path]:
    """Directories for a node's output and for its scratch, below the one that is its own."""
    out, scratch = base / "out", base / "scratch"
    os.mkdir(out)
    os.mkdir(scratch)
    return out, scratch


def taken_down(store: Store, base: Path) -> None:
    """Remove both, and ``base``. After most nodes they are empty, so they go from the inside out without being read."""
    store.abandon(base / "scratch")
    store.abandon(base)


def first_unmet(patterns: Iterable[str], out: Path) -> str | None:
    """The first of these globs that nothing in a directory matches; for a plain name nothing is listed."""
    for pattern in patterns:
        if not (any(out.glob(pattern)) if _WILD.intersection(pattern) else os.path.exists(f"{out}/{pattern}")):
            return pattern
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """A node at work, and what it holds until it ends."""

    action: Action
    locks: tuple[Lock, ...]
    base: Path
    log: Path
    inputs: tuple[Taken, ...]
