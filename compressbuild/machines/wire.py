"""The messages between the engine and its agent on another machine: JSON after its length, and bytes beside it.

engine → agent: :class:`Hello` once, then :class:`Ask`, :class:`Order`, :class:`Put` (with the bytes of a file),
:class:`Cancel` and :class:`Ping`.
agent → engine: :class:`Ready` once, then :class:`Answer`, :class:`Wants`, :class:`Began`, :class:`Went`, :class:`Said`
(with bytes of a log), :class:`Ended` (with the bytes of its files) and :class:`Pong`.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, BinaryIO

import msgspec

from ..api.needs import Needs
from ..api.work import WorkRequest, WorkResult
from ..platforms.needs import Missing

__all__ = [
    "FORMAT",
    "PULSE",
    "SILENCE",
    "Answer",
    "Ask",
    "Began",
    "Cancel",
    "Ended",
    "Entry",
    "Files",
    "Hello",
    "Message",
    "Order",
    "Ping",
    "Pong",
    "Put",
    "Ready",
    "Said",
    "Wants",
    "Went",
    "Wire",
]

FORMAT = 1
PULSE, SILENCE = 10.0, 60
"""Seconds between two pings, and of silence after which each side takes the other for gone."""
_PREFIX, _LIMIT, _CHUNK = 8, 256 << 20, 1 << 20


class Entry(msgspec.Struct, frozen=True, array_like=True):
    path: str
    digest: str
    size: int
    executable: bool = False


class Files(msgspec.Struct, frozen=True):
    """What a directory holds. ``folders``: those to make, whether they hold a file or not."""

    entries: tuple[Entry, ...] = ()
    folders: tuple[str, ...] = ()


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """``sandbox``: what the Compressfile asks for. ``packages``: top-level ones of the code that was shipped."""

    sandbox: str
    packages: tuple[str, ...] = ()
    format: int = FORMAT


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    needs: Needs


class Order(msgspec.Struct, frozen=True, tag="order"):
    """A node. Paths of ``request`` that begin with ``@`` are places: ``@project``, ``@code``, ``@roots/N``. ``files``:
    of the project; ``inputs``: of each input artifact."""

    token: int
    request: WorkRequest
    files: Files
    inputs: dict[str, Files]
    preload: tuple[str, ...] = ()
    timeout: float | None = None
    memory: int | None = None
    exclusive: bool = False


class Put(msgspec.Struct, frozen=True, tag="put"):
    digest: str
    size: int


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    token: int


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    pass


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """``host``: an id of the machine. ``versions``, ``modules``: of what is installed, as of
    :class:`~compressbuild.registry.installed.Installed`. ``trouble``: why it cannot be used; empty if it can."""

    host: str = ""
    python: str = ""
    facts: dict[str, Any] = {}
    versions: dict[str, str] = {}
    modules: dict[str, tuple[str, ...]] = {}
    gpu_reason: str = "none found"
    gpus: tuple[str, ...] = ()
    trouble: str = ""


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    missing: tuple[Missing, ...]


class Wants(msgspec.Struct, frozen=True, tag="wants"):
    token: int
    digests: tuple[str, ...]


class Began(msgspec.Struct, frozen=True, tag="began"):
    token: int
    pid: int


class Went(msgspec.Struct, frozen=True, tag="went"):
    token: int
    done: float
    total: float
    values: dict[str, float | str | None] = {}


class Said(msgspec.Struct, frozen=True, tag="said"):
    token: int
    size: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    token: int
    result: WorkResult
    cause: str
    detail: str = ""
    again: bool = False
    files: tuple[Entry, ...] = ()
    empty: tuple[str, ...] = ()


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    pass


Message = (
    Hello | Ask | Order | Put | Cancel | Ping | Ready | Answer | Wants | Began | Went | Said | Ended | Pong
)  # fmt: skip
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class Wire:
    """Both ends of the stream. Several threads may send; one receives. Everything raises OSError or EOFError once the
    other side is gone, and ValueError for what is no message."""

    def __init__(self, reading: BinaryIO, writing: BinaryIO, alive: Callable[[], object] = lambda: None) -> None:
        """``alive``: called whenever the other side has shown that it is there."""
        self._reading, self._writing, self._alive = reading, writing, alive
        self._sending = Lock()

    def send(self, message: Message, *files: tuple[BinaryIO, int]) -> None:
        """``files``: what is sent beside it, each with its size; a file that is shorter than that is an OSError."""
        body = msgspec.json.encode(message)
        with self._sending:
            self._write(len(body).to_bytes(_PREFIX, "big") + body)
            for file, size in files:
                while size:
                    chunk = file.read(min(size, _CHUNK))
                    if not chunk:
                        raise OSError("a file became shorter while it was sent")
                    self._write(chunk)
                    self._alive()  # so much does not go into buffers alone
                    size -= len(chunk)

    def receive(self) -> Message:
        length = int.from_bytes(self._exactly(_PREFIX), "big")
        if length > _LIMIT:
            raise ValueError(f"a message of {length} bytes")
        return _decoder.decode(self._exactly(length))

    def copy(self, size: int, write: Callable[[bytes], object]) -> None:
        """Take the bytes beside a message."""
        while size:
            chunk = self._read(min(size, _CHUNK))
            write(chunk)
            size -= len(chunk)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._writing.write(view) or 0 :]
        except ValueError as error:  # the file is closed
            raise OSError(str(error)) from error

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._read(min(size, _CHUNK)))
            size -= len(parts[-1])
        return b"".join(parts)

    def _read(self, most: int) -> bytes:
        try:
            data = self._reading.read(most)
        except ValueError as error:  # the file is closed
            raise EOFError(str(error)) from error
        if not data:
            raise EOFError("the other side is gone")
        self._alive()
        return data
