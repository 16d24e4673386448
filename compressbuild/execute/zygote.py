"""The warm parent: imports the heavy libraries once, then forks a worker for each node.

It also supervises its workers, so that limits hold while the engine is busy with something else: it kills those that
exceed their time or memory, and reports each end only when every process that the worker started is gone.

Life and death: the warm parent lives in a session of its own (Ctrl-C does not reach it) and ends when the engine's end
of the socket closes, however that happened, after killing all workers. Workers die with the warm parent
(PR_SET_PDEATHSIG), and orphans of workers are adopted (PR_SET_CHILD_SUBREAPER) and killed.
It stays single-threaded, for only then is a fork safe, and runs no operation of the libraries it imports.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import time
import traceback
from dataclasses import dataclass, field
from typing import NoReturn

from . import procfs, worker
from .importing import import_from_source
from .protocol import Broken, Channel, Exited, Forked, Kill, Ready, Sandbox, Setup, Spawn, decode_order

__all__ = ["main"]

_MEMORY_EVERY = 0.025  # seconds between two readings of a limited worker's memory
_GRACE = 1.0  # seconds from SIGTERM to SIGKILL
_BURIAL = 5.0  # seconds to wait for killed processes to go
_SIGKILL_STATUS = int(signal.SIGKILL)


@dataclass(slots=True)
class _Node:
    token: int
    pid: int
    deadline: float | None
    memory: int | None
    oom_before: int
    forked: float = field(default_factory=time.monotonic)
    rss: int = 0
    killed: str = ""
    kill_at: float | None = None
    next_reading: float = field(default_factory=time.monotonic)


def main(descriptor: int, engine: int) -> NoReturn:
    """``descriptor``: the socket to the engine, inherited; ``engine``: the pid of what started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    procfs.name_process("cbuild-zygote")
    procfs.die_with_parent(signal.SIGKILL)  # an import may take seconds in which the socket is not read
    if os.getppid() != engine:
        os._exit(0)
    channel = Channel(socket.socket(fileno=descriptor))
    channel.sock.set_inheritable(False)
    first = channel.receive()
    setup = decode_order(first[0]) if first else None
    if not isinstance(setup, Setup):
        os._exit(0)
    started = time.monotonic()
    sources = import_from_source(setup.packages)
    if broken := _preload(setup.preload):
        with contextlib.suppress(OSError):
            channel.send(broken)
        os._exit(1)
    procfs.die_with_parent(0)  # from here the closed socket tells, and leaves time to kill the workers
    procfs.adopt_orphans()
    gc.collect()
    gc.freeze()  # what is imported by now stays shared with the workers
    zygote = _Zygote(channel, setup.sandbox)
    with contextlib.suppress(OSError):  # the engine is gone
        channel.send(Ready(procfs.thread_count(), time.monotonic() - started, dict(sources)))
        zygote.serve()
    zygote.kill_all()
    os._exit(0)


def _preload(modules: tuple[str, ...]) -> Broken | None:
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001  a plugin border: importing runs anybody's code
            traceback.print_exc()
            missing = isinstance(error, ModuleNotFoundError)
            return Broken(name, f"{type(error).__name__}: {error}", missing)
    return None


class _Zygote:
    """Forks, watches and buries workers. Raises OSError when the engine is gone."""

    def __init__(self, channel: Channel, sandbox: Sandbox) -> None:
        self._channel = channel
        self._sandbox = sandbox
        self._nodes: dict[int, _Node] = {}  # by pid
        self._wake, wake_end = socket.socketpair()
        self._wake_end = wake_end
        for each in (self._wake, wake_end):
            each.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda signum, stack: None)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the engine closes its end."""
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(self._pause()):
                if descriptor == self._wake.fileno():
                    self._wake.recv(4096)
                elif not self._obey():
                    return
            self._bury()
            self._enforce()

    def _pause(self) -> float | None:
        """Milliseconds until a limit has to be checked."""
        times = []
        for node in self._nodes.values():
            times += [each for each in (node.kill_at or node.deadline,) if each is not None]
            if node.memory is not None:
                times.append(node.next_reading)
        return max(0.0, (min(times) - time.monotonic()) * 1000) + 1 if times else None

    def _obey(self) -> bool:
        received = self._channel.receive()
        if received is None:
            return False
        body, descriptors = received
        order = decode_order(body)
        if isinstance(order, Spawn):
            self._fork(order, *descriptors)
        elif isinstance(order, Kill):
            for node in self._nodes.values():
                if node.token == order.token:
                    self._ask_to_end(node, "cancelled")
        return True

    def _fork(self, order: Spawn, log: int, results: int) -> None:
        oom_before = procfs.oom_kills()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._channel.send(Exited(order.token, 0, error=f"cannot fork a worker: {error.strerror}"))
            return
        if pid == 0:
            try:
                self._forget()
                worker.main(order.request, log, results, parent, self._sandbox)
            finally:
                os._exit(71)
        os.close(log)
        os.close(results)
        node = _Node(order.token, pid, None, order.memory, oom_before)
        if order.timeout is not None:
            node.deadline = node.forked + order.timeout
        self._nodes[pid] = node
        self._channel.send(Forked(order.token, pid))

    def _forget(self) -> None:
        """In the child: let go of what belongs to the warm parent."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in (self._wake, self._wake_end, self._channel.sock):
            each.close()

    def _enforce(self) -> None:
        now = time.monotonic()
        for node in self._nodes.values():
            if node.kill_at is not None:
                if now >= node.kill_at:
                    self._signal(node, signal.SIGKILL)
            elif node.deadline is not None and now >= node.deadline:
                self._ask_to_end(node, "timeout")
            if node.memory is not None and now >= node.next_reading:
                node.next_reading = now + _MEMORY_EVERY
                node.rss = max(node.rss, procfs.tree_memory(node.pid, node.memory))
                if node.rss > node.memory and not node.killed:
                    node.killed = "memory"
                    self._signal(node, signal.SIGKILL)

    def _ask_to_end(self, node: _Node, why: str) -> None:
        if not node.killed:
            node.killed = why
            node.kill_at = time.monotonic() + _GRACE
            self._signal(node, signal.SIGTERM)

    def _signal(self, node: _Node, signum: signal.Signals) -> None:
        """To the worker's group, and descendants that left it. The worker is not reaped yet, so its pid is its own."""
        for pid in [*procfs.descendants(node.pid), node.pid]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(node.pid, signum)

    def _bury(self) -> None:
        """Reap what has ended; a worker's end is reported once everything it started has ended too."""
        while (pid := _ended()) is not None:
            node = self._nodes.get(pid)
            if node is None:
                os.waitpid(pid, 0)  # an adopted orphan
                continue
            self._signal(node, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            del self._nodes[pid]
            self._sweep(pid)
            by_kernel = os.WIFSIGNALED(status) and os.WTERMSIG(status) == _SIGKILL_STATUS and not node.killed
            oom = by_kernel and procfs.oom_kills() > node.oom_before
            rss, seconds = node.rss or usage.ru_maxrss * 1024, time.monotonic() - node.forked
            self._channel.send(Exited(node.token, status, node.killed, oom, rss, seconds))

    def _sweep(self, session: int) -> None:
        """Kill the orphans of a worker. Its ``session`` tells most; one that made a session of its own cannot be told
        from another worker's, so it goes when no other worker runs."""
        deadline = time.monotonic() + _BURIAL
        while time.monotonic() < deadline:
            orphans = [pid for pid in procfs.children(os.getpid()) if pid not in self._nodes]
            doomed = [pid for pid in orphans if not self._nodes or _session(pid) == session]
            if not doomed:
                return
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)

    def kill_all(self) -> None:
        for node in self._nodes.values():
            self._signal(node, signal.SIGKILL)
        for pid in list(self._nodes):
            os.waitpid(pid, 0)
            del self._nodes[pid]
        self._sweep(0)


def _ended() -> int | None:
    """A child that has ended and is not reaped."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
