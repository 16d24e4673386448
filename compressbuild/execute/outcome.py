"""How a node ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..graph import Node
from ..plan import Keyer
from ..store import ActionResult

__all__ = ["NodeFailure", "Outcome", "unreadable"]


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """Why a node has no result. ``cause``: as the executor says (raised, crashed, timeout, memory …), or ``differs``.
    ``trace``: the user's frames; ``log``: the file with what it printed. ``about``, ``change``: as of a UserError."""

    node: Node
    cause: str
    message: str
    hint: str | None = None
    trace: str | None = None
    log: Path | None = None
    about: str = ""
    change: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    status: Literal["cached", "built", "failed", "skipped"]
    result: ActionResult | None = None
    failure: NodeFailure | None = None


def unreadable(node: Node, keyer: Keyer) -> NodeFailure:
    """What a key could not be made of: the first problem. What was not found is looked for again by the next node."""
    first, *_ = keyer.problems
    keyer.problems.clear()
    keyer.renew()
    return NodeFailure(node, "raised", first.message, first.hint)
