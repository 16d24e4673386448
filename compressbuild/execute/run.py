"""A node at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..plan import Action
from ..store import Lock
from .inputs import Taken

__all__ = ["Run", "laid_out"]


def laid_out(base: Path) -> tuple[Path, Path]:
    """Directories for a node's output and for its scratch, below the one that is its own."""
    out, scratch = base / "out", base / "scratch"
    out.mkdir()
    scratch.mkdir()
    return out, scratch


@dataclass(frozen=True, slots=True)
class Run:
    """A node at work, and what it holds until it ends."""

    action: Action
    locks: tuple[Lock, ...]
    base: Path
    log: Path
    inputs: tuple[Taken, ...]
