"""The messages between engine, warm parent and worker: length-prefixed JSON.

engine → warm parent (socket): :class:`Setup` once, then :class:`Spawn` (with two descriptors: the node's log and the
writing end of its result pipe) and :class:`Kill`. Warm parent → engine: :class:`Ready` or :class:`Broken` once, then
for each node :class:`Forked` and, when it and everything it started is gone, :class:`Exited`.
worker → engine (pipe): any number of :class:`Report`, then one :class:`Outcome`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ..api.work import WorkRequest, WorkResult

__all__ = [
    "Broken",
    "Channel",
    "Exited",
    "Forked",
    "Frames",
    "Kill",
    "Outcome",
    "Ready",
    "Report",
    "Sandbox",
    "Setup",
    "Spawn",
    "decode_answer",
    "decode_order",
    "decode_report",
    "frame",
    "json_value",
]

_PREFIX = 4  # bytes of a frame's big-endian length
_LIMIT = 256 << 20  # a longer frame is garbage


class Sandbox(msgspec.Struct, frozen=True):
    """``kind``: bubblewrap, landlock (where the kernel has it) or none. Of bubblewrap alone: what its workers may read
    and write at all, and the ``places`` that no node sees whole."""

    kind: str = "landlock"
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """``preload``: modules to import before the first fork. ``packages``: installed, but to be read from source."""

    preload: tuple[str, ...]
    packages: tuple[str, ...] = ()
    sandbox: Sandbox = Sandbox()


class Spawn(msgspec.Struct, frozen=True, tag="spawn"):
    """Fork a worker. ``timeout``: seconds; ``memory``: bytes, of the worker with all its descendants."""

    token: int
    request: WorkRequest
    timeout: float | None = None
    memory: int | None = None


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    token: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """``threads``: of the warm parent; more than one makes forking unsafe. ``sources``: files whose code it holds, with
    their signatures."""

    threads: int
    seconds: float
    sources: dict[str, tuple[int, int, int, int]] = {}


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The preload failed: the warm parent exits after this."""

    module: str
    error: str
    missing: bool


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    token: int
    pid: int


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """``status``: as from ``waitpid``. ``killed``: why the warm parent killed it: timeout, memory, cancelled or not.
    ``oom``: the kernel did. ``rss``: bytes, the highest reading or ``ru_maxrss``. ``seconds``:
    since the fork. ``error``: it could not be forked."""

    token: int
    status: int
    killed: str = ""
    oom: bool = False
    rss: int = 0
    seconds: float = 0.0
    error: str = ""


class Report(msgspec.Struct, frozen=True, tag="progress"):
    done: float
    total: float
    values: dict[str, float | str | None] = {}


class Outcome(msgspec.Struct, frozen=True, tag="result"):
    result: WorkResult


Order = Setup | Spawn | Kill
Answer = Ready | Broken | Forked | Exited

_order_decoder: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_report_decoder: msgspec.json.Decoder[Report | Outcome] = msgspec.json.Decoder(Report | Outcome)


def json_value(value: Any) -> Any:
    """``enc_hook``: arrays and scalars of numerical libraries, known by what they can do; TypeError for the rest."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    if callable(getattr(value, "item", None)):
        return value.item()
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    raise TypeError(f"a {type(value).__qualname__} has no place in JSON")


def frame(message: msgspec.Struct) -> bytes:
    body = msgspec.json.encode(message, enc_hook=json_value)
    return len(body).to_bytes(_PREFIX, "big") + body


def decode_order(body: bytes) -> Order:
    return _order_decoder.decode(body)


def decode_answer(body: bytes) -> Answer:
    return _answer_decoder.decode(body)


def decode_report(body: bytes) -> Report | Outcome:
    return _report_decoder.decode(body)


class Frames:
    """Cuts a stream of bytes into the bodies of its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Bodies that ``data`` completes. ValueError if the stream cannot be one of frames."""
        self._buffer += data
        while len(self._buffer) >= _PREFIX:
            length = int.from_bytes(self._buffer[:_PREFIX], "big")
            if length > _LIMIT:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._buffer) < _PREFIX + length:
                return
            body = bytes(self._buffer[_PREFIX : _PREFIX + length])
            del self._buffer[: _PREFIX + length]
            yield body


class Channel:
    """The blocking end of a socket: whole messages in and out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
        """OSError if the other side is gone."""
        data = frame(message)
        if descriptors:
            sent = socket.send_fds(self.sock, [data], descriptors)
            data = data[sent:]
        self.sock.sendall(data)

    def receive(self) -> tuple[bytes, list[int]] | None:
        """Body of the next frame with the descriptors that came along; None when the other side is gone."""
        try:
            head, descriptors, _, _ = socket.recv_fds(self.sock, _PREFIX, 8)
            head += self._exactly(_PREFIX - len(head)) if head else b""
            body = self._exactly(int.from_bytes(head, "big")) if head else None
            for descriptor in descriptors:  # recvmsg hands them over inheritable
                os.set_inheritable(descriptor, False)
        except (ConnectionError, EOFError):
            return None
        return None if body is None else (body, descriptors)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self.sock.recv(min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
