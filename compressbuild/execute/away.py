"""Runs nodes on another machine, through the agent there. What the machine says is data; what it made, files.

The scheduler's thread only queues and collects. One thread sends (it hashes and uploads), the session's own thread
receives. A cut connection loses no finished node: those that were at work there start once more on the same machine.
"""

from __future__ import annotations

import os
import queue
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import cast, get_args

from ..api.work import WorkRequest, WorkResult
from ..digest import Digest, file_digest
from ..errors import CbuildError
from ..machines.session import Session
from ..machines.wire import Began, Cancel, Ended, Message, Order, Put, Said, Wants, Went, Wire
from ..noop import signature
from .executor import Cause, Finished, Happening, Progress, Started
from .logfile import added, begin
from .packed import packed

__all__ = ["Away"]

_LOSSES = 2  # of the connection that a node survives
_PAUSE = 1.0  # seconds after a loss before the machine is tried again, and more after each


@dataclass(slots=True)
class _Task:
    token: int
    request: WorkRequest
    preload: tuple[str, ...]
    log: Path
    timeout: float | None
    memory: int | None
    exclusive: bool
    session: Session | None = None
    sources: dict[Digest, str] = field(default_factory=dict)


class Away:
    """An :class:`~compressbuild.execute.executor.Executor` on one machine. ``address``: for messages; ``open``: the
    session with it, which may raise Unreachable; ``give_up``: has an ``open`` that waits raise it at once."""

    def __init__(self, address: str, open: Callable[[], Session], give_up: Callable[[], None] = lambda: None) -> None:
        self._address, self._open, self._give_up = address, open, give_up
        self._tasks: dict[int, _Task] = {}
        self._lock = Lock()  # of what threads share: tasks and losses
        self._losses: Counter[int] = Counter()
        self._lost = 0
        self._session: Session | None = None
        self._digests: dict[str, tuple[tuple[int, ...], Digest]] = {}
        self._happened: queue.SimpleQueue[Happening] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closing = Event()
        self._wake, self._waker = socket.socketpair()
        for each in (self._wake, self._waker):
            each.setblocking(False)
        self._thread = Thread(target=self._send, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when something happened."""
        return self._wake.fileno()

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
        exclusive = request.expect is not None and "host" in request.expect.facts
        task = _Task(token, request, preload, log, timeout, memory, exclusive)
        with self._lock:
            self._tasks[token] = task
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            os.close(begin(log))
        except OSError as error:
            return self._finish(token, "unavailable", f"its log cannot be written: {error}")
        return self._work.put(lambda: self._order(task))

    def wait(self, timeout: float | None = None) -> list[Happening]:
        """What happened; blocks for the first at most ``timeout`` seconds, and not at all with 0."""
        found: list[Happening] = []
        try:
            self._wake.recv(4096)
        except BlockingIOError:  # nobody woke it
            pass
        try:
            found.append(self._happened.get(timeout=timeout) if timeout != 0 else self._happened.get_nowait())
            while True:
                found.append(self._happened.get_nowait())
        except queue.Empty:
            return found

    def cancel(self, token: int) -> None:
        with self._lock:
            task = self._tasks.get(token)
        session = task.session if task is not None else None
        if session is None:
            self._finish(token, "cancelled", "cancelled before it started")
        else:
            self._work.put(lambda: session.send(Cancel(token)))

    def close(self) -> None:
        self._closing.set()
        self._give_up()
        with self._lock:
            self._tasks.clear()
        self._work.put(None)
        if self._session is not None:
            self._session.close()
        self._thread.join(10.0)
        for each in (self._wake, self._waker):
            each.close()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        while (job := self._work.get()) is not None:
            try:
                job()
            except OSError:
                continue  # the session is lost, and its tasks are ended by that

    def _order(self, task: _Task) -> None:
        if self._closing.is_set():
            return None
        if self._lost:
            self._closing.wait(_PAUSE * self._lost)
        try:
            session = self._connected()
            if self._closing.is_set():  # meanwhile: nobody else knows of it yet
                return session.close()
            code = {full: path for path, full in session.bundle.files.items()}
            sent = packed(task.request, code, self._digest)
        except CbuildError as error:
            return self._finish(task.token, "unavailable", f"{self._address} {error}", error.hint)
        except (OSError, ValueError) as error:
            return self._finish(task.token, "unavailable", f"a file for {self._address} cannot be read: {error}")
        except Exception as error:  # noqa: BLE001  plugin border: opening a session runs an executor's code
            text = f"{self._address} cannot be reached: {type(error).__name__}: {error}"
            return self._finish(task.token, "unavailable", text)
        with self._lock:
            if task.token not in self._tasks:
                return None
            task.session, task.sources = session, sent.sources
        if session.lost is not None:
            return self._over(session)
        order = Order(
            task.token, sent.request, sent.files, sent.inputs, task.preload, task.timeout, task.memory, task.exclusive
        )
        session.send(order)
        self._lost = 0
        return None

    def _connected(self) -> Session:
        session = self._open()
        if session is not self._session:
            self._session = session
            session.handle(self._take, lambda why: self._over(session))
        return session

    def _digest(self, path: str) -> Digest:
        """Of a file as it is, remembered by its stat for this build."""
        now = signature(path)
        known = self._digests.get(path)
        if known is None or known[0] != now:
            known = self._digests[path] = (now, file_digest(path))
        return known[1]

    def _supply(self, task: _Task, digests: tuple[Digest, ...]) -> None:
        """Send what the machine lacks. A file that changed meanwhile arrives as another, which the machine refuses."""
        session = task.session
        assert session is not None
        for digest in digests:
            try:
                file = open(task.sources[digest], "rb")  # noqa: SIM115
            except (KeyError, OSError) as error:
                what = "a file that was not offered" if isinstance(error, KeyError) else f"a file: {error}"
                self._finish(task.token, "unavailable", f"{self._address} cannot be sent {what}")
                return session.send(Cancel(task.token))
            with file:
                size = os.fstat(file.fileno()).st_size
                try:
                    session.send(Put(digest, size), (file, size))
                except OSError:
                    session.cut()  # half a file was sent, if anything
                    raise
        return None

    # -- receiving, in the session's thread --------------------------------------------------------------------------

    def _take(self, message: Message, wire: Wire) -> None:
        token = getattr(message, "token", -1)
        with self._lock:
            task = self._tasks.get(token)
        match message:
            case Wants() if task is not None:
                self._work.put(lambda: self._supply(task, message.digests))
            case Began():
                self._tell(Started(token, message.pid))
            case Went():
                self._tell(Progress(token, message.done, message.total, message.values))
            case Said():
                self._said(task, message.size, wire)
            case Ended():
                self._ended(task, message, wire)

    def _said(self, task: _Task | None, size: int, wire: Wire) -> None:
        with added(task.log if task is not None else None) as write:
            wire.copy(size, write)

    def _ended(self, task: _Task | None, message: Ended, wire: Wire) -> None:
        trouble = ""
        for entry in message.files:
            try:
                if task is None or trouble:
                    raise OSError(trouble)
                full = Path(task.request.out, _safe(entry.path))
                full.parent.mkdir(parents=True, exist_ok=True)
                file = open(full, "xb")  # noqa: SIM115
            except (OSError, ValueError) as error:
                trouble = str(error)
                wire.copy(entry.size, lambda data: None)
                continue
            with file:
                try:
                    wire.copy(entry.size, file.write)
                except OSError as error:
                    if error.errno is None:
                        raise
                    raise OSError(f"its output cannot be kept here: {error}") from error
            full.chmod(0o755 if entry.executable else 0o644)
        if task is None:
            return None
        try:
            for folder in message.empty:
                Path(task.request.out, _safe(folder)).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            trouble = trouble or str(error)
        if trouble:
            return self._finish(message.token, "unavailable", f"what {self._address} made cannot be kept: {trouble}")
        cause = cast(Cause, message.cause) if message.cause in get_args(Cause) else "crashed"
        detail = f"{self._address}: {message.detail}" if cause == "unavailable" else message.detail
        result = message.result
        if cause == "unavailable":
            result = WorkResult(ok=False, error=detail, hint=result.hint)
        return self._end(Finished(message.token, result, cause, detail, message.again))

    def _over(self, session: Session) -> None:
        """The session is lost: what it ran starts once more, unless that has happened too often."""
        if self._closing.is_set():
            return
        with self._lock:
            lost = [task for task in self._tasks.values() if task.session is session]
            self._lost += 1
        for task in lost:
            self._losses[task.token] += 1
            again = self._losses[task.token] <= _LOSSES
            text = f"the connection to {self._address} was cut: {session.lost}"
            self._finish(task.token, "unavailable", text, "what has finished is kept: build again", again=again)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _finish(self, token: int, cause: Cause, text: str, hint: str | None = None, *, again: bool = False) -> None:
        self._end(Finished(token, WorkResult(ok=False, error=text, hint=hint), cause, text, again))

    def _end(self, end: Finished) -> None:
        with self._lock:
            if self._tasks.pop(end.token, None) is None:
                return
        self._tell(end)

    def _tell(self, happening: Happening) -> None:
        self._happened.put(happening)
        try:
            self._waker.send(b"!")
        except OSError:  # it is full, so it wakes; or closed, so nobody waits
            return


def _safe(path: str) -> str:
    """A path from another machine, which must lead nowhere else. ValueError."""
    if not path or path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"an unsafe path {path!r}")
    return path
