"""What runs nodes: the :class:`Executor` protocol, and what it reports of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ..api.work import WorkRequest, WorkResult

__all__ = ["Cause", "Executor", "Finished", "Happening", "Progress", "Started"]

Cause = Literal["ok", "raised", "crashed", "timeout", "memory", "cancelled", "unavailable"]
"""How a node ended. ``raised``: its function raised, or did what it may not. ``crashed``: a signal, or an exit
without a result. ``memory``: over its limit, or killed by the kernel for want of memory. ``unavailable``: no worker was
to be had."""


@dataclass(frozen=True, slots=True)
class Started:
    """The node's process runs."""

    token: int
    pid: int


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` in the node's own unit; ``values`` beside it (a loss). None stands for NaN."""

    token: int
    done: float
    total: float
    values: dict[str, float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """The node and all its processes are gone. ``detail``: one line, empty when ``cause`` is ok; the result has it too,
    as its ``error``, with a hint. ``again``: it ended with others, and one of them may be to blame: start it once more.
    """

    token: int
    result: WorkResult
    cause: Cause
    detail: str = ""
    again: bool = False


Happening = Started | Progress | Finished


class Executor(Protocol):
    """Runs nodes. Every token given to ``start`` comes back from ``wait`` as exactly one Finished."""

    def start(
        self,
        token: int,
        request: WorkRequest,
        *,
        preload: tuple[str, ...],
        log: Path,
        timeout: float | None,
        memory: int | None,
    ) -> None:
        """Run a node. ``preload``: modules that its process finds imported; ``log``: file for its output, overwritten;
        ``timeout``: seconds; ``memory``: bytes, of its process with all descendants.
        """

    def wait(self, timeout: float | None = None) -> list[Happening]:
        """What happened since the last call, in order; blocks until something does, at most ``timeout`` seconds.
        Empty when the time is over; without a timeout, at once when nothing runs."""

    def cancel(self, token: int) -> None:
        """End a node: it comes back with the cause ``cancelled``, unless it finished just before."""

    def close(self) -> None:
        """Kill what runs, and leave no process. Nothing more is reported."""
