"""The event stream of a build: what the console shows, what ``--json`` prints and ``--trace`` draws.

As JSON each event is one line, an object with ``event`` (its tag) and ``time`` (seconds since the epoch) and the
fields below. A build is ``build-started``, then events of nodes and targets, then ``build-finished``; before it come
those of machines that are waited for, and of environments that are not there. A node has at most one ``node-started``,
then at most one ``node-working``, any number of ``node-progress`` and ``node-running``, and one ``node-finished``. New
fields and new events may be added: a reader ignores what it does not know.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

__all__ = [
    "BuildFinished",
    "BuildStarted",
    "EnvironmentStatus",
    "Event",
    "MachineStatus",
    "NodeFinished",
    "NodeProgress",
    "NodeRetried",
    "NodeRunning",
    "NodeStarted",
    "NodeStatus",
    "NodeWorking",
    "Observer",
    "Sending",
    "TargetFinished",
    "decode",
    "encode",
]

NodeStatus = Literal["built", "cached", "failed", "skipped"]
"""``cached``: its result was known; ``skipped``: an input failed, or the build stopped."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    time: float = msgspec.field(default_factory=time.time)


class BuildStarted(_Event, frozen=True, kw_only=True, tag="build-started"):
    """``nodes``: how many will come to an end; ``jobs``: how many may run at once; ``expected``: node → seconds it took
    when it last ran, of those that may run now."""

    targets: tuple[str, ...]
    nodes: int
    jobs: int = 1
    expected: dict[str, float] = {}


class EnvironmentStatus(_Event, frozen=True, kw_only=True, tag="environment"):
    """A Python environment of a plugin's own is not there. ``status``: making, waiting for another process that makes
    it, made (in ``seconds``), or missing, where nothing has to run in it. ``detail``: one line."""

    environment: str
    status: Literal["making", "waiting", "made", "missing"]
    detail: str = ""
    seconds: float = 0.0


class MachineStatus(_Event, frozen=True, kw_only=True, tag="machine"):
    """Another machine, which a scheduler has to give first. ``status``: waiting, for what ``detail`` says in the
    scheduler's words, or ready. Also during the build, if the machine was lost."""

    machine: str
    status: Literal["waiting", "ready"]
    detail: str = ""


class NodeStarted(_Event, frozen=True, kw_only=True, tag="node-started"):
    """``node``: its identity within this build; ``label``: for people; ``reason``: why it runs, one line. ``log``: path
    of what it prints. ``preload``: modules that its process finds imported."""

    node: str
    label: str
    reason: str = ""
    log: str | None = None
    preload: tuple[str, ...] = ()


class NodeWorking(_Event, frozen=True, kw_only=True, tag="node-working"):
    """Its own work begins. ``starting``: seconds since ``node-started``, in which its process was started. That is long
    for the first node that needs a library, which is imported once for all."""

    node: str
    starting: float = 0.0


class NodeProgress(_Event, frozen=True, kw_only=True, tag="node-progress"):
    """``done`` of ``total``, in the node's own unit (epochs, batches); a ``total`` of 0 is unknown. ``values``: what it
    shows beside (loss), null for NaN."""

    node: str
    done: float
    total: float
    values: dict[str, float | str | None] = {}


class NodeRunning(_Event, frozen=True, kw_only=True, tag="node-running"):
    """It has run for long, and still does. ``starting``: seconds that its process took to start, so far or in all;
    ``seconds``: of its own work so far; ``expected``: of it in all, null if unknown. ``done``, ``total``, ``values``:
    its last progress. ``said``: the last line that it printed."""

    node: str
    label: str
    starting: float = 0.0
    seconds: float = 0.0
    expected: float | None = None
    preload: tuple[str, ...] = ()
    done: float = 0.0
    total: float = 0.0
    values: dict[str, float | str | None] = {}
    said: str = ""


class NodeRetried(_Event, frozen=True, kw_only=True, tag="node-retried"):
    """It ended without a result, and starts once more. ``cause``, ``error``: as of node-finished."""

    node: str
    label: str
    cause: str
    error: str = ""


class NodeFinished(_Event, frozen=True, kw_only=True, tag="node-finished"):
    """``seconds``: of its own work now; ``starting``: seconds before that until its process ran, with ``preload``
    imported; ``peak_rss``: bytes. Of a failure: ``cause`` (raised, crashed, timeout, memory, cancelled, unavailable …),
    ``error`` (one line), ``hint``, ``trace`` (the user's frames). ``log``: path of what it printed."""

    node: str
    label: str
    status: NodeStatus
    seconds: float = 0.0
    starting: float = 0.0
    preload: tuple[str, ...] = ()
    peak_rss: int = 0
    cause: str = ""
    error: str = ""
    hint: str | None = None
    trace: str | None = None
    log: str | None = None


class TargetFinished(_Event, frozen=True, kw_only=True, tag="target-finished"):
    """``status``: published, up to date, checked, gate failed, failed or skipped; ``reason``: of the last three, one
    line. ``directory``: where it lies, relative to the project. ``metrics``: name → value. ``warnings``: what is worth
    knowing though no gate asks."""

    target: str
    status: str
    reason: str = ""
    directory: str | None = None
    metrics: dict[str, float | None] = {}
    warnings: list[str] = []


class Sending(_Event, frozen=True, kw_only=True, tag="sending"):
    """All nodes have ended, and results still go to the remote cache: ``done`` of ``total``, ``size`` bytes so far."""

    done: int
    total: int
    size: int


class BuildFinished(_Event, frozen=True, kw_only=True, tag="build-finished"):
    """``counts``: node status → how many; ``seconds``: wall time since build-started."""

    exit_code: int
    seconds: float = 0.0
    counts: dict[str, int] = {}


Event = (
    BuildStarted
    | EnvironmentStatus
    | MachineStatus
    | NodeStarted
    | NodeWorking
    | NodeProgress
    | NodeRunning
    | NodeRetried
    | NodeFinished
    | TargetFinished
    | Sending
    | BuildFinished
)

Observer = Callable[[Event], None]
"""Looks at events as they happen. It may not raise, and cannot change the build."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """One line of JSON, with its end of line; ``event`` and ``time`` come first."""
    return _encoder.encode(event) + b"\n"


def decode(line: bytes | str) -> Event:
    """The event of a line. msgspec.ValidationError for an unknown one."""
    return _decoder.decode(line)
