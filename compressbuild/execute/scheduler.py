"""Runs the nodes of a build: topological, longest remaining path first, within the machine's resources.

Rebuilder: constructive traces. A node's key is known when its inputs are; if the cache has its result, dependents go on
with that. A node that runs again and yields the same bytes leaves its dependents cached (early cutoff).
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from ..digest import Digest, file_digest
from ..errors import CbuildError
from ..graph import Graph
from ..plan import Action, Explanation, Keyer, Trace, Traces, judge
from ..store import ActionResult, CorruptObject, Hit, Lock, Store
from .executor import Executor, Finished, Progress
from .inputs import Inputs, Taken
from .observe import Observe
from .outcome import NodeFailure, Outcome
from .pools import Need, Pools
from .request import make_request, preloads
from .source import import_file

__all__ = ["Scheduler"]

_POLL = 0.05  # seconds between looks at what another process holds


@dataclass(frozen=True, slots=True)
class _Run:
    """A node at work, and what it holds until it ends."""

    action: Action
    locks: tuple[Lock, ...]
    base: Path
    log: Path
    need: Need
    inputs: tuple[Taken, ...]


class Scheduler:
    """One build. ``finish(name)`` is called as soon as all that a target asks for has come to an end."""

    def __init__(
        self,
        graph: Graph,
        keyer: Keyer,
        store: Store,
        executor: Executor,
        pools: Pools,
        traces: Traces,
        observe: Observe,
        finish: Callable[[str], None],
        *,
        keep_going: bool = False,
        check: bool = False,
        remeasure: bool = False,
    ) -> None:
        self.graph = graph
        self.outcomes: dict[int, Outcome] = {}
        self._keyer, self._store, self._executor, self._pools = keyer, store, executor, pools
        self._traces, self._observe, self._finish = traces, observe, finish
        self._keep_going, self._check, self._remeasure = keep_going, check, remeasure
        self._inputs = Inputs(store)
        self._priority = graph.criticality(lambda node: last.seconds if (last := traces.get(node.position)) else 1.0)
        self._waiting: dict[int, int] = {}  # node → inputs that have not come to an end
        self._due: list[int] = []  # their inputs have come to an end
        self._ready: list[tuple[float, int]] = []  # heap of (-criticality, node) that must run
        self._held: list[int] = []  # another process runs these now
        self.actions: dict[int, Action] = {}
        self._absent: set[int] = set()  # result known, bytes evicted
        self._wanted: set[int] = set()  # of those, the ones whose bytes a node needs
        self._starved: dict[int, set[int]] = {}  # node → inputs whose bytes are being made again for it
        self._running: dict[int, _Run] = {}
        self._asked: dict[int, list[str]] = {}  # node → targets that read its result
        self._pending: dict[str, int] = {}  # target → results it still waits for
        self._stop = False

    def run(self, targets: tuple[str, ...]) -> None:
        """Bring every target to an end. Failures are in ``outcomes``; only the engine's own trouble raises."""
        needed = self.graph.needed(targets)
        for name in targets:
            nodes = self.graph.targets[name].nodes
            self._pending[name] = len(nodes)
            for index in nodes:
                self._asked.setdefault(index, []).append(name)
        self._waiting = {i: len(set(self.graph.nodes[i].inputs.values())) for i in needed}
        self._due = [i for i in self.graph.order if self._waiting.get(i) == 0]
        try:
            while self._step():
                pass
            for index in self.graph.order:
                if index in needed and index not in self.outcomes:
                    self._end(index, Outcome("skipped"))
        finally:
            self._executor.close()
            for run in self._running.values():
                _release(run.locks)
                shutil.rmtree(run.base, ignore_errors=True)
            self._inputs.close()

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _consider(self, index: int) -> None:
        """All inputs have come to an end: is the result known, or must the node run?"""
        node = self.graph.nodes[index]
        inputs: dict[str, Digest] = {}
        for role, source in node.inputs.items():
            result = self.outcomes[source].result
            if result is None:
                return self._end(index, Outcome("skipped"))
            inputs[role] = result.output
        parts = self._keyer.parts(node, inputs)
        action = judge(node, self._keyer.key(parts), parts, self._store.lookup, self._traces.get(node.position))
        self.actions[index] = action
        if action.status != "cached":
            return self._queue(index)
        assert action.result is not None
        if (self._remeasure and node.exclusive) or (self._check and not node.nondeterministic and node.run):
            self.actions[index] = replace(action, why=Explanation("requested"))
            return self._queue(index)
        if action.evicted and (index in self._asked or index in self._wanted):
            self.actions[index] = replace(action, why=Explanation("evicted"))
            return self._queue(index)
        if action.evicted:
            self._absent.add(index)
        self._record(action, action.result)
        return self._end(index, Outcome("cached", action.result))

    def _key(self, index: int) -> Digest:
        key = self.actions[index].key
        assert key is not None
        return key

    def _queue(self, index: int) -> None:
        heapq.heappush(self._ready, (-self._priority[index], index))

    def _record(self, action: Action, result: ActionResult) -> None:
        assert action.key is not None
        assert action.parts is not None
        trace = Trace(action.key, action.parts, result.seconds, result.peak_rss)
        self._traces.record(self.graph.positions[action.node.index], trace)

    def _end(self, index: int, outcome: Outcome) -> None:
        """A node has come to an end: tell the observers, its consumers and its targets."""
        again = index in self.outcomes
        self.outcomes[index] = outcome
        self._observe.finished(self.graph.nodes[index], outcome)
        if again:
            return
        for consumer in self.graph.consumers(index):
            if consumer in self._waiting:
                self._waiting[consumer] -= 1
                if self._waiting[consumer] == 0:
                    self._due.append(consumer)
        for name in self._asked.get(index, ()):
            self._pending[name] -= 1
            if self._pending[name] == 0:
                self._finish(name)

    # -- running -----------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Decide what can be decided, start what can start, then wait for news. False when nothing is left to do."""
        while self._due:
            self._consider(self._due.pop())
        for index in self._held:
            self._queue(index)
        self._held.clear()
        if self._stop:
            self._ready.clear()
        postponed = []
        while self._ready and not self._pools.is_full:
            entry = heapq.heappop(self._ready)
            if not self._start(entry[1]):
                postponed.append(entry)
        for entry in postponed:
            heapq.heappush(self._ready, entry)
        if not self._running:
            return bool(self._due or self._ready or self._held) and self._wait()
        return self._wait()

    def _wait(self) -> bool:
        timeout = 0.0 if self._due else _POLL if self._held or not self._running else None
        for message in self._executor.wait(timeout):
            if isinstance(message, Finished):
                self._finished(message)
            elif isinstance(message, Progress):
                self._observe.progress(self.graph.nodes[message.token], message)
        return True

    def _start(self, index: int) -> bool:
        """Try to start a node. False: no room now. True: it runs, or has been dealt with otherwise."""
        action, node = self.actions[index], self.graph.nodes[index]
        if not self._inputs_present(index):
            return True
        last = self._traces.get(node.position)
        memory = node.options.memory or (last.peak_rss if last is not None else 0)
        need = Need(cpus=node.options.threads or 1, memory=memory, exclusive=node.exclusive)
        if not self._pools.try_acquire(need):
            return False
        locks = _acquire(self._store, self._key(index), exclusive=node.exclusive)
        if locks is None:
            self._pools.release(need)
            self._held.append(index)
            return True
        found = self._store.lookup(self._key(index))
        if isinstance(found, Hit) and action.why.reason != "requested":
            _release(locks)
            self._pools.release(need)
            self._record(action, found.result)
            self._again(index, Outcome("cached", found.result))
            return True
        self._launch(action, locks, need)
        return True

    def _launch(self, action: Action, locks: tuple[Lock, ...], need: Need) -> None:
        node = action.node
        base = self._store.scratch()
        out, scratch = base / "out", base / "scratch"
        out.mkdir()
        scratch.mkdir()
        taken: dict[str, Taken] = {}
        for role, source in node.inputs.items():
            result = self.outcomes[source].result
            assert result is not None
            taken[role] = self._inputs.get(result.output)
        log = self._observe.log_path(node)
        run = _Run(action, locks, base, log, need, tuple(taken.values()))
        self._running[node.index] = run
        self._observe.started(node, action.why)
        if node.role == "import":
            self._import(run, out)
            return
        paths = {role: each.path for role, each in taken.items()}
        request = make_request(
            self.graph,
            self._keyer,
            node,
            paths,
            out=out,
            scratch=scratch,
            checkpoint=self._observe.checkpoint_path(self._key(node.index)),
            ignore=self._observe.own_dirs,
        )
        self._executor.start(
            node.index,
            request,
            preload=preloads(self.graph, node),
            log=log,
            timeout=node.options.timeout,
            memory=node.options.memory,
        )

    def _import(self, run: _Run, out: Path) -> None:
        node = run.action.node
        try:
            import_file(self.graph.spec.root, str(node.params["file"]), self._keyer.read_files(node), out)
        except (OSError, CbuildError) as error:
            self._fail(run, "raised", str(error), getattr(error, "hint", None))
            return
        self._commit(run, 0.0, 0, {})

    def _inputs_present(self, index: int) -> bool:
        """Whether the bytes of every input are at hand. What was evicted or found corrupt is made again first."""
        gone = set()
        for source in set(self.graph.nodes[index].inputs.values()):
            result = self.outcomes[source].result
            assert result is not None
            if source in self._absent:
                gone.add(source)
                continue
            try:
                self._inputs.get(result.output)
            except CorruptObject:
                gone.add(source)
        for source in gone:
            self._absent.add(source)
            if source not in self._wanted:
                self._wanted.add(source)
                self.actions[source] = replace(self.actions[source], why=Explanation("evicted"))
                self._queue(source)
        if gone:
            self._starved[index] = gone
        return not gone

    # -- ending ------------------------------------------------------------------------------------------------------

    def _finished(self, message: Finished) -> None:
        run = self._running[message.token]
        result = message.result
        touched = next((name for name in map(self._inputs.tampered, run.inputs) if name), None)
        if touched is None and any(map(self._inputs.spoiled, run.inputs)):
            self._free(run)  # another node wrote into its input: what it made is worth nothing
            self._queue(message.token)
            return
        if message.cause != "ok":
            text = result.error or message.detail
            self._fail(run, message.cause, text, result.hint, result.trace)
        elif touched is not None:
            self._fail(
                run,
                "raised",
                f"its input ({touched}) was changed while it ran",
                "an input is for reading; write to ctx.out",
            )
        else:
            self._commit(run, result.seconds, result.peak_rss, result.facts)

    def _commit(self, run: _Run, seconds: float, peak_rss: int, facts: Mapping[str, object]) -> None:
        action, node = run.action, run.action.node
        out = run.base / "out"
        kind = self.graph.registry.kinds.get(node.kind)
        unmet = [pattern for pattern in (kind.files if kind is not None else ("*",)) if not any(out.glob(pattern))]
        if unmet:
            return self._fail(run, "raised", f"it made no '{unmet[0]}', which a {node.kind} has to hold")
        assert action.key is not None
        if self._check and action.result is not None and action.why.reason == "requested" and not node.nondeterministic:
            changed = _differences(self._store, action.result, out)
            if changed:
                text = f"declared deterministic, but it made other bytes this time: {', '.join(changed)}"
                return self._fail(run, "differs", text, "declare it nondeterministic with the reason, or mend it")
            return self._release(run, Outcome("built", action.result))
        result = self._store.commit(
            out,
            key=action.key,
            kind=node.kind,
            label=node.position,
            seconds=seconds,
            peak_rss=peak_rss,
            facts=dict(facts),
            consume=True,
        )
        shutil.rmtree(self._observe.checkpoint_path(action.key), ignore_errors=True)
        self._absent.discard(node.index)
        self._wanted.discard(node.index)
        self._record(action, result)
        return self._release(run, Outcome("built", result))

    def _fail(self, run: _Run, cause: str, message: str, hint: str | None = None, trace: str | None = None) -> None:
        self._stop = self._stop or not self._keep_going
        self._release(
            run, Outcome("failed", failure=NodeFailure(run.action.node, cause, message, hint, trace, run.log))
        )

    def _release(self, run: _Run, outcome: Outcome) -> None:
        self._free(run)
        self._again(run.action.node.index, outcome)

    def _free(self, run: _Run) -> None:
        del self._running[run.action.node.index]
        _release(run.locks)
        self._pools.release(run.need)
        shutil.rmtree(run.base, ignore_errors=True)

    def _again(self, index: int, outcome: Outcome) -> None:
        """End a node, then look again at those that waited for its bytes."""
        self._end(index, outcome)
        for starved, sources in list(self._starved.items()):
            sources.discard(index)
            if not sources:
                del self._starved[starved]
                self._due.append(starved)


def _differences(store: Store, result: ActionResult, out: Path) -> list[str]:
    """Names of the files that are not as they are in the cache."""
    cached = {file.path: file.digest for file in store.cas.read_tree(result.output).files}
    made = {p.relative_to(out).as_posix(): file_digest(p) for p in out.rglob("*") if p.is_file()}
    return sorted(name for name in {*cached, *made} if cached.get(name) != made.get(name))


def _acquire(store: Store, key: Digest, *, exclusive: bool) -> tuple[Lock, ...] | None:
    """The action's lock, and a share in (or the whole of) the machine; None while another process has them."""
    action = store.locks.try_acquire(key)
    if action is None:
        return None
    machine = store.measuring.try_exclusive() if exclusive else store.measuring.try_shared()
    if machine is None:
        action.release()
        return None
    return action, machine


def _release(locks: tuple[Lock, ...]) -> None:
    for lock in reversed(locks):
        lock.release()
