"""The agent's life: it runs the nodes that come in, and ends, with all of them, when the stream does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import select
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from threading import Thread
from typing import BinaryIO, NoReturn

from ..api.work import WorkResult
from ..errors import CbuildError
from ..execute import landlock
from ..execute.executor import Finished, Happening, Progress
from ..execute.local import LocalExecutor
from ..execute.protocol import Sandbox
from ..machines.wire import (
    FORMAT,
    SILENCE,
    Answer,
    Ask,
    Began,
    Cancel,
    Ended,
    Hello,
    Message,
    Order,
    Ping,
    Pong,
    Put,
    Ready,
    Said,
    Wants,
    Went,
    Wire,
)
from ..platforms import check, probe
from ..store.locks import SharedExclusive
from .blobs import Blobs, Damaged, swept
from .host import Host
from .jobs import Job, Trees, made, placed

__all__ = ["Agent", "main"]

_HELD = 0.05  # seconds between two tries for the machine
_LOG = 0.5  # seconds between two looks at the logs


def main(reading: BinaryIO, writing: BinaryIO, base: str, code: list[str]) -> NoReturn:
    """``base``: where it keeps files; ``code``: directories that hold the engine and the plugins."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the stream tells when to end
    # If the other side falls silent, the kernel ends this process, and its warm parents end every node.
    wire = Wire(reading, writing, lambda: signal.alarm(SILENCE))
    status = 1
    with contextlib.suppress(EOFError, OSError):  # the engine is gone
        hello = wire.receive()
        if isinstance(hello, Hello):
            kind = _sandbox(hello)
            if isinstance(kind, Ready):
                wire.send(kind)
            else:
                with Agent(wire, Path(base), tuple(code), hello.packages, kind) as agent:
                    agent.serve()
            status = 0
    sys.stderr.flush()
    os._exit(status)


def _sandbox(hello: Hello) -> Sandbox | Ready:
    if hello.format != FORMAT:
        return Ready(trouble=f"the agent speaks format {FORMAT}, not {hello.format}")
    if hello.sandbox == "bubblewrap":
        return Ready(trouble="the sandbox 'bubblewrap' cannot be had on another machine; 'landlock' can")
    if hello.sandbox == "landlock" and landlock.version() == 0:
        return Ready(trouble="the sandbox 'landlock' cannot be had there: its kernel has no Landlock")
    return Sandbox("landlock" if hello.sandbox != "none" and landlock.version() else "none")


class Agent:
    """One session. Its own directory below ``base`` goes with it."""

    def __init__(self, wire: Wire, base: Path, code: tuple[str, ...], packages: tuple[str, ...], kind: Sandbox) -> None:
        self._wire, self._base = wire, base
        self._host = Host(code)
        self._place, self._lock = _session(base / "sessions", self._host.id)
        self._blobs = Blobs(base / "blobs")
        self._trees = Trees(self._place / "trees", self._blobs)
        self._places = {"@code": Path(code[0]), "@checkpoint": base / "checkpoints"}
        path = os.pathsep.join([*code, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._executor = LocalExecutor({**os.environ, "PYTHONPATH": path}, packages=packages, sandbox=kind)
        self._machine = SharedExclusive(str(base / f"measuring-{self._host.id}.lock"))
        self._jobs: dict[int, Job] = {}
        self._held: list[Job] = []
        self._running: set[int] = set()
        self._arrived: queue.SimpleQueue[Message | tuple[str, str] | None] = queue.SimpleQueue()
        self._wake, self._waker = socket.socketpair()
        for folder in (base / "code", base / "checkpoints", *(base / "blobs").iterdir()):
            swept(folder)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *exception: object) -> None:
        self._executor.close()
        for job in self._jobs.values():
            job.drop()
        shutil.rmtree(self._place, ignore_errors=True)
        self._lock.close()

    def serve(self) -> None:
        """Until the stream ends. OSError if it cannot be written to."""
        self._wire.send(self._host.ready())
        Thread(target=self._listen, daemon=True).start()
        while True:
            timeout = _HELD if self._held else _LOG if self._running else None
            ready, _, _ = select.select([self._wake.fileno(), self._executor.fileno()], [], [], timeout)
            if self._wake.fileno() in ready:
                self._wake.recv(4096)
            while not self._arrived.empty():
                message = self._arrived.get()
                if message is None:
                    return
                self._obey(message)
            held, self._held = self._held, []
            for job in held:
                self._start(job)
            for happening in self._executor.wait(0):
                self._tell(happening)
            for token in self._running:
                self._tell_log(self._jobs[token])

    def _listen(self) -> None:
        """In a thread of its own: takes what comes, so that a large file delays no limit."""
        try:
            while True:
                message = self._wire.receive()
                self._arrived.put(
                    (message.digest, self._blobs.take(message, self._wire)) if isinstance(message, Put) else message
                )
                self._waker.send(b"!")
        except Exception as error:  # noqa: BLE001  the process border: nobody would hear of the rest of the stream
            if not isinstance(error, EOFError):
                print(f"cbuild agent: {error}", file=sys.stderr)
            self._arrived.put(None)
            self._waker.send(b"!")

    def _obey(self, message: Message | tuple[str, str]) -> None:
        match message:
            case (digest, trouble):
                self._has_come(digest, trouble)
            case Ask():
                self._wire.send(Answer(tuple(check(message.needs, probe()))))
            case Order():
                base = Path(tempfile.mkdtemp(prefix="node-", dir=self._place))
                job = self._jobs[message.token] = Job(message, base)
                self._await(job)
            case Cancel():
                self._cancel(message.token)
            case Ping():
                self._wire.send(Pong())

    def _await(self, job: Job) -> None:
        """Start a job, or ask for the files that it lacks."""
        lacking = self._blobs.lacking(entry.digest for entry in job.files)
        job.lacks = set(lacking)
        if lacking:
            self._wire.send(Wants(job.order.token, lacking))
        else:
            self._start(job)

    def _has_come(self, digest: str, trouble: str) -> None:
        for job in [each for each in self._jobs.values() if digest in each.lacks]:
            job.lacks.discard(digest)
            if trouble:
                self._end(job, "unavailable", f"the machine cannot keep a file: {trouble}")
            elif not job.lacks:
                self._start(job)

    def _start(self, job: Job) -> None:
        order = job.order
        if order.token not in self._jobs:
            return None
        expect = order.request.expect
        if expect is not None and (what := self._host.differs(expect)) is not None:
            hint = "build again: the plan is made of what the machine is now"
            return self._end(job, "unavailable", f"the machine is not what it was planned for: {what}", hint)
        job.lock = self._machine.try_exclusive() if order.exclusive else self._machine.try_shared()
        if job.lock is None:
            return self._held.append(job)
        try:
            project = self._trees.get(order.files)
            inputs = {role: self._trees.get(files) for role, files in order.inputs.items()}
            for name in ("out", "scratch"):
                (job.base / name).mkdir()
        except Damaged:
            job.lock.release()
            return self._await(job)
        except OSError as error:
            return self._end(job, "unavailable", f"the machine cannot lay out its files: {error}")
        job.trees = (project, *inputs.values())
        request = placed(order, {**self._places, "@project": project}, inputs, job.base)
        self._running.add(order.token)
        return self._executor.start(
            order.token, request, preload=order.preload, log=job.log, timeout=order.timeout, memory=order.memory
        )

    def _cancel(self, token: int) -> None:
        if token in self._running:
            self._executor.cancel(token)
        elif (job := self._jobs.get(token)) is not None:
            self._end(job, "cancelled", "cancelled before it started")

    def _tell(self, happening: Happening) -> None:
        match happening:
            case Finished():
                self._finished(happening)
            case Progress():
                self._wire.send(Went(happening.token, happening.done, happening.total, happening.values))
            case _:
                self._wire.send(Began(happening.token, happening.pid))

    def _tell_log(self, job: Job) -> None:
        try:
            with open(job.log, "rb") as file:
                size = os.fstat(file.fileno()).st_size - job.sent
                if size > 0:
                    file.seek(job.sent)
                    self._wire.send(Said(job.order.token, size), (file, size))
                    job.sent += size
        except FileNotFoundError:  # it has not begun
            return

    def _finished(self, end: Finished) -> None:
        job = self._jobs[end.token]
        self._tell_log(job)
        touched = next((name for name in map(self._trees.tampered, job.trees) if name), None)
        if touched is not None:
            for token in self._running:
                other = self._jobs[token]
                other.spoiled = other.spoiled or not set(job.trees).isdisjoint(other.trees)
            hint = "an input is for reading; write to ctx.out"
            return self._end(job, "raised", f"its input ({touched}) was changed while it ran", hint)
        found = made(job.base / "out") if end.result.ok else ((), ())
        if isinstance(found, CbuildError):
            return self._end(job, "raised", str(found), found.hint)
        again = end.again or (job.spoiled and end.cause in ("ok", "raised"))
        message = Ended(end.token, end.result, end.cause, end.detail, again, *found)
        with contextlib.ExitStack() as stack:
            files = [(stack.enter_context(open(job.base / "out" / e.path, "rb")), e.size) for e in message.files]
            self._wire.send(message, *files)
        if end.cause == "ok" and job.order.request.checkpoint is not None:
            shutil.rmtree(self._places["@checkpoint"] / Path(job.order.request.checkpoint).name, ignore_errors=True)
        return self._drop(job)

    def _end(self, job: Job, cause: str, detail: str, hint: str | None = None) -> None:
        result = WorkResult(ok=False, error=detail, hint=hint)
        self._wire.send(Ended(job.order.token, result, cause, detail))
        self._drop(job)

    def _drop(self, job: Job) -> None:
        self._jobs.pop(job.order.token, None)
        self._running.discard(job.order.token)
        job.drop()


def _session(folder: Path, host: str) -> tuple[Path, BinaryIO]:
    """A directory of this session's own, with its lock; those of sessions that were killed are removed. Machines may
    share the directory, and a lock may be seen on its own machine alone: so each removes its own."""
    folder.mkdir(parents=True, exist_ok=True)
    swept(folder)
    for old in folder.glob(f"session-{host}-*"):
        with contextlib.suppress(OSError), open(old / "lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    lock = open(new / "lock", "wb")  # noqa: SIM115  held until the session ends
    fcntl.flock(lock, fcntl.LOCK_EX)
    place = new.with_name(new.name.replace("new-", f"session-{host}-"))
    new.rename(place)  # only now is it one that others may look at
    return place, lock
