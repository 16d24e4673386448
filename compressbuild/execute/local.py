"""Runs nodes on this machine: one warm parent for each set of preloaded modules, one forked worker for each node.

Single-threaded: everything happens in the caller's :meth:`LocalExecutor.wait`. Limits hold between the calls, because
the warm parents enforce them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..api.work import WorkRequest, WorkResult
from ..words import memory
from .executor import Cause, Finished, Happening, Progress, Started
from .logfile import begin, note
from .protocol import Broken, Exited, Forked, Frames, Outcome, Ready, Sandbox, Spawn, decode_report
from .warm import WarmParent, worker_environment

__all__ = ["LocalExecutor", "at_once"]

_Kind = tuple[tuple[str, ...], Sandbox, int | None, str]
"""Of a warm parent: its preload, what it is confined by, the node that it is for alone, if it is for one, and the
interpreter of its environment, if it has one of its own."""
_OTHER_FILES = 40  # of the engine itself: streams, the cache, warm parents
_UNSAFE = "cbuild: a preloaded module has started threads in the warm parent; forking it may hang\n"


@dataclass(slots=True)
class _Node:
    """A node from ``start`` to its Finished. ``results``: reading end of its pipe; ``garbled``: why what came is no
    message."""

    token: int
    request: WorkRequest
    parent: WarmParent
    results: int
    log: Path
    timeout: float | None
    memory: int | None
    frames: Frames = field(default_factory=Frames)
    result: WorkResult | None = None
    garbled: str = ""


class LocalExecutor:
    """An :class:`~compressbuild.execute.executor.Executor`. ``environ``: what the workers' variables are taken from.
    ``packages``: installed ones whose code counts by its source. ``variables``: some that replace the fixed ones, for
    tests that vary what must not matter. ``sandbox``: of the workers; ``strict``: of those that ask to be isolated."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        packages: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
        sandbox: Sandbox = Sandbox(),  # noqa: B008
        strict: Sandbox | None = None,
    ) -> None:
        self._packages = tuple(sorted(packages))
        self._environment = worker_environment(os.environ if environ is None else environ) | dict(variables or {})
        self._selector = selectors.DefaultSelector()
        self._sandbox, self._strict = sandbox, strict or sandbox
        self._parents: dict[_Kind, WarmParent] = {}
        self._retired: list[WarmParent] = []  # they hold code that was edited since; their nodes may still run
        self._broken: dict[_Kind, Broken] = {}
        self._nodes: dict[int, _Node] = {}
        self._happened: list[Happening] = []
        self._suspects: set[int] = set()  # nodes whose warm parent died while it had others, too

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when :meth:`wait` has something to report. None of its events is lost to who only looks."""
        return self._selector.fileno()  # epoll and kqueue have one

    def prepare(self, preload: tuple[str, ...]) -> None:
        """Start the warm parent for ``preload`` now, so that its imports overlap with what precedes the first node."""
        self._prepare((preload, self._sandbox, None, ""))

    def _prepare(self, kind: _Kind) -> None:
        if kind not in self._parents and kind not in self._broken:
            preload, sandbox, _, python = kind
            parent = WarmParent(preload, self._environment, self._packages, sandbox, python)
            parent.kind = kind
            self._parents[kind] = parent
            self._selector.register(parent, selectors.EVENT_READ, parent)

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
        if request.python and not os.path.exists(request.python):
            what = f"the Python environment that it runs in is not made: there is no {request.python}"
            self._refuse(token, what, "'cbuild env make' makes it")
            return
        alone = token if token in self._suspects else None
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = begin(log)
            kind = (preload, self._strict if request.isolate else self._sandbox, alone, request.python)
            self._retire(kind)
            self._prepare(kind)
        except OSError as error:
            self._refuse(token, f"cannot start a worker: {error}", None)
            return
        if broken := self._broken.get(kind):
            os.write(output, f"cannot import {broken.module}: {broken.error}\n".encode())
            os.close(output)
            self._refuse(token, *_preload_failure(broken, request.python))
            return
        parent = self._parents[kind]
        if parent.threads > 1:
            os.write(output, _UNSAFE.encode())
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        node = _Node(token, request, parent, reading, log, timeout, memory)
        self._nodes[token] = node
        try:
            parent.spawn(Spawn(token, request, timeout, memory), output, writing)
        except OSError:
            self._parent_gone(parent)

    def wait(self, timeout: float | None = None) -> list[Happening]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._happened and (self._nodes or deadline is not None):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            for key, _ in self._selector.select(left):
                if isinstance(key.data, WarmParent):
                    self._hear(key.data)
                elif key.data.token in self._nodes:
                    self._drain(key.data)
            if deadline is not None and time.monotonic() >= deadline:
                break
        happened, self._happened = self._happened, []
        return happened

    def cancel(self, token: int) -> None:
        node = self._nodes.get(token)
        if node is not None and not node.parent.kill(token):
            self._finish(node, "cancelled", "cancelled before it started")

    def close(self) -> None:
        parents = [*self._parents.values(), *self._retired]
        for parent in parents:
            self._selector.unregister(parent)
            parent.channel.sock.close()  # first all of them, so that they die together
        for parent in parents:
            parent.end()
            parent.release()
        for node in self._nodes.values():
            os.close(node.results)
        self._parents.clear()
        self._retired.clear()
        self._nodes.clear()
        self._happened.clear()
        self._selector.close()

    def _retire(self, kind: _Kind) -> None:
        """Give no more nodes to a warm parent that holds outdated code. What waits goes to a new one."""
        parent = self._parents.get(kind)
        if parent is None or not parent.is_outdated:
            return
        self._retired.append(self._parents.pop(kind))
        self._prepare(kind)
        fresh = self._parents[kind]
        for token in parent.hand_over(fresh):
            self._nodes[token].parent = fresh

    def _hear(self, parent: WarmParent) -> None:
        if parent.state == "dead":
            return
        answer = parent.receive()
        if answer is None:
            self._parent_gone(parent)
        elif isinstance(answer, Ready):
            parent.ready(answer)
            try:
                self._retire(parent.kind)
                parent.send()
            except OSError:
                self._parent_gone(parent)
        elif isinstance(answer, Broken):
            self._broken[parent.kind] = answer
            self._parent_gone(parent, answer)
        elif isinstance(answer, Forked):
            node = self._nodes[answer.token]
            parent.pids[answer.token] = answer.pid
            self._happened.append(Started(answer.token, answer.pid))
            self._selector.register(node.results, selectors.EVENT_READ, node)  # not before: Started comes first
        else:
            pid = parent.pids.pop(answer.token, None)
            node = self._nodes[answer.token]
            self._drain(node)
            if pid is None:
                self._finish(node, "unavailable", answer.error)
            elif node.result is not None:
                self._happened.append(Finished(node.token, node.result, *_outcome(node.result)))
                self._drop(node)
            else:
                self._finish(node, *_verdict(node, answer), rss=answer.rss, seconds=answer.seconds)

    def _drain(self, node: _Node) -> None:
        """Take what is in the node's result pipe."""
        while True:
            try:
                data = os.read(node.results, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(node.results)  # else its end would wake every wait
                return
            try:
                for body in node.frames.feed(data):
                    self._take(node, body)
            except (ValueError, msgspec.DecodeError) as error:
                node.garbled = str(error)

    def _take(self, node: _Node, body: bytes) -> None:
        message = decode_report(body)
        if isinstance(message, Outcome):
            node.result = message.result
        else:
            self._happened.append(Progress(node.token, message.done, message.total, message.values))

    def _parent_gone(self, parent: WarmParent, broken: Broken | None = None) -> None:
        """The warm parent is dead, and its workers with it."""
        if parent.state == "dead":
            return
        was_ready = parent.state == "ready"
        self._selector.unregister(parent)
        if parent in self._retired:
            self._retired.remove(parent)
        else:
            del self._parents[parent.kind]
        status = parent.end()
        words = parent.last_words()
        parent.release()
        if not was_ready and broken is None:
            broken = Broken(" ".join(parent.preload), _ending(status, words), missing=False)
            self._broken[parent.kind] = broken
        nodes = [each for each in self._nodes.values() if each.parent is parent]
        for node in nodes:
            if broken is not None:
                note(node.log, f"cannot import {broken.module}: {broken.error}\n")
                self._finish(node, "unavailable", *_preload_failure(broken, node.request.python))
            else:
                again = len(nodes) > 1  # each in a warm parent of its own then, so that none can harm the others
                self._suspects.add(node.token)
                text = f"crashed: the workers' parent process ended: {_ending(status, words)}"
                self._finish(node, "crashed", text, again=again)

    def _finish(
        self, node: _Node, cause: Cause, detail: str, hint: str | None = None, rss: int = 0, seconds: float = 0.0,
        *, again: bool = False,
    ) -> None:  # fmt: skip
        """Report a node that sent no result."""
        result = WorkResult(ok=False, error=detail, hint=hint, seconds=seconds, peak_rss=rss)
        self._happened.append(Finished(node.token, result, cause, detail, again))
        self._drop(node)

    def _refuse(self, token: int, detail: str, hint: str | None) -> None:
        self._happened.append(Finished(token, WorkResult(ok=False, error=detail, hint=hint), "unavailable", detail))

    def _drop(self, node: _Node) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(node.results)
        os.close(node.results)
        del self._nodes[node.token]


def at_once(jobs: int) -> int:
    """At most so many nodes as this process may have files open for: a pipe and two locks each, and one to spare."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return jobs if limit == resource.RLIM_INFINITY else max(1, min(jobs, (limit - _OTHER_FILES) // 4))


def _outcome(result: WorkResult) -> tuple[Cause, str]:
    return ("ok", "") if result.ok else ("raised", result.error or "")


def _preload_failure(broken: Broken, python: str) -> tuple[str, str | None]:
    if not broken.module:
        return f"the workers' parent process did not start: {broken.error}", None
    where = "add it to the lock of the step's environment" if python else "install it in this environment"
    hint = f"the step's plugin needs it: {where}" if broken.missing else None
    return f"cannot import '{broken.module}': {broken.error}", hint


def _ending(status: int, words: str) -> str:
    how = f"killed by {_signal_name(-status)}" if status < 0 else f"exited with status {status}"
    return f"{how} ({words})" if words else how


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


_SIGNALS = {
    signal.SIGSEGV: "segmentation fault",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "arithmetic error",
    signal.SIGILL: "illegal instruction",
}


def _verdict(node: _Node, end: Exited) -> tuple[Cause, str, str | None]:
    """Cause, detail and hint of a worker that ended without a result."""
    if end.killed == "timeout":
        return (
            "timeout",
            f"exceeded its timeout of {node.timeout:g} s",
            "the log shows how far it got; raise `timeout:` of the step if the work needs longer",
        )
    if end.killed == "memory":
        detail = f"used {memory(end.rss)}, more than its memory limit of {memory(node.memory or 0)}"
        return "memory", detail, "make its batches smaller, or raise `memory:` of the step"
    if end.killed == "cancelled":
        return "cancelled", "cancelled", None
    if end.oom:
        detail = f"killed by the kernel: out of memory (it had used up to {memory(end.rss)})"
        return "memory", detail, "make its batches smaller, or run fewer nodes at once (-j)"
    if os.WIFSIGNALED(end.status):
        return _crash_by(os.WTERMSIG(end.status))
    code = os.waitstatus_to_exitcode(end.status)
    if node.garbled:
        return "crashed", f"crashed: what it sent as its result is unreadable ({node.garbled})", None
    return "crashed", f"crashed: exited with status {code} without a result", None


def _crash_by(number: int) -> tuple[Cause, str, str | None]:
    if number == signal.SIGKILL:
        note = "the kernel does this when memory runs out"
        return "crashed", f"crashed: killed by {_signal_name(number)}; {note}", None
    words = next((text for each, text in _SIGNALS.items() if each == number), None)
    if words is None:
        return "crashed", f"crashed: killed by {_signal_name(number)}", None
    return "crashed", f"crashed: {words} ({signal.Signals(number).name})", "the log shows where Python was"
