"""How a node ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..graph import Node
from ..store import ActionResult

__all__ = ["NodeFailure", "Outcome"]


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """Why a node has no result. ``cause``: as the executor says (raised, crashed, timeout, memory …), or ``differs``.
    ``trace``: the user's frames; ``log``: the file with what it printed."""

    node: Node
    cause: str
    message: str
    hint: str | None = None
    trace: str | None = None
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    status: Literal["cached", "built", "failed", "skipped"]
    result: ActionResult | None = None
    failure: NodeFailure | None = None
