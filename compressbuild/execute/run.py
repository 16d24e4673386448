"""A node at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..plan import Action
from ..store import Lock
from .inputs import Taken

__all__ = ["Run"]


@dataclass(frozen=True, slots=True)
class Run:
    """A node at work, and what it holds until it ends."""

    action: Action
    locks: tuple[Lock, ...]
    base: Path
    log: Path
    inputs: tuple[Taken, ...]
