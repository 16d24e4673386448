"""Other machines that run nodes, and what a plugin does to reach them."""

from __future__ import annotations

from typing import BinaryIO, Protocol, runtime_checkable

import msgspec

from .needs import Needs
from .params import Params
from .record import RecordMeta
from .stack import Stack

__all__ = ["Executor", "Link", "Machine", "QueuedLink"]


class Executor(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """A way to reach other machines: ``host: scheme://…`` of a platform, for each of ``schemes``.

    ``open``: ``f(address: str, options) -> Machine``, imported by builds alone; it connects to nothing yet. ``plain``:
    it takes addresses without a scheme. ``queued``: a scheduler gives the machines, so one is asked for only when a
    node has to run there. ``options``: a Params struct, from what follows ``?`` in the address.

    The engine does the rest, whatever the way: it ships its own code and the plugins', moves files by digest, and runs
    each node there with the executor of its own machine.
    """

    name: str
    open: str
    schemes: tuple[str, ...]
    plain: bool = False
    queued: bool = False
    options: type[Params] = Params
    stack: Stack = Stack()
    needs: Needs = Needs()
    version: int = 1
    summary: str = ""


class Link(Protocol):
    """A Python program at work on another machine, with a stream of bytes to it and one from it.

    Both streams are unbuffered files of a pipe or socket. When the way to the machine is cut, ``stdout`` ends and
    ``stdin`` raises OSError; on the other side the program's standard input ends.
    """

    stdin: BinaryIO
    stdout: BinaryIO

    def fault(self) -> str:
        """What ended it, in one line as its tools say it; empty if they say nothing. Called when ``stdout`` ended."""

    def close(self) -> None:
        """End it, and leave no process of it here, in a few seconds at most. Twice is harmless."""


@runtime_checkable
class QueuedLink(Link, Protocol):
    """A link whose program starts later: a scheduler has to find it a machine first."""

    def waiting(self) -> str | None:
        """What it waits for, in a few words, as the scheduler says it; empty as long as that is not known, and None
        once the program runs.

        Asked several times a second, and before the first use of either stream; so ask the scheduler less often.
        UserError if the program will never run, with the next step as its hint.
        """


class Machine(Protocol):
    """A machine that runs Python. ``address``: as people write it."""

    address: str

    def start(self, program: str) -> Link:
        """Run ``python -c program`` there. UserError if that cannot even be tried. It waits for no scheduler: what it
        returns is then a :class:`QueuedLink`."""
