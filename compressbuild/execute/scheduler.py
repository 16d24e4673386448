"""Runs the nodes of a build in the order of its agenda, within the machine's resources.

Rebuilder: constructive traces. A node's key is known when its inputs are; if the cache has its result, dependents go on
with that. A node that runs again and yields the same bytes leaves its dependents cached (early cutoff).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from ..api.work import WorkResult
from ..digest import Digest
from ..errors import CbuildError, StoreError
from ..graph import Graph, Node
from ..interrupts import Held
from ..plan import Action, Cover, Explanation, Keyer, Starts, Trace, Traces, judge
from ..store import ENGINE, ActionResult, BadOutput, CorruptObject, Hit, Lock, Store, unsound
from .agenda import Agenda
from .awaited import Awaited
from .executor import Executor, Finished, Progress
from .expected import Expected
from .fetching import Fetching
from .group import Ended, Group
from .holding import acquire, release
from .inputs import Inputs
from .observe import Observe
from .outcome import NodeFailure, Outcome, unreadable
from .places import Places
from .repeated import differences
from .request import make_request, preloads
from .run import Run, Workplaces, first_unmet
from .source import import_file

__all__ = ["Scheduler"]

_ATTEMPTS = 3  # at a node whose inputs change while it runs
_POLL = 0.05  # seconds between looks at what another process holds


class Scheduler:
    """One build. ``finish(names)`` is called as soon as everything that some targets need has ended."""

    def __init__(
        self,
        graph: Graph,
        keyer: Keyer,
        store: Store,
        executor: Executor,
        pools: Places,
        traces: Traces,
        starts: Starts,
        observe: Observe,
        finish: Callable[[Sequence[str]], None],
        *,
        keep_going: bool = False,
        check: bool = False,
        remeasure: bool = False,
    ) -> None:
        self.graph = graph
        self.outcomes: dict[int, Outcome] = {}
        self._keyer, self._store, self._executor, self._pools = keyer, store, executor, pools
        self._traces, self._observe, self._awaited = traces, observe, Awaited(finish)
        self._keep_going, self._check, self._remeasure = keep_going, check, remeasure
        self._inputs, self._group, self._fetching, self._starts = Inputs(store), Group(store), Fetching(store), starts
        self._workplaces = Workplaces(store)
        self._agenda, self._expected = Agenda({}, ()), Expected((), traces)
        self.actions: dict[int, Action] = {}
        self._covers: dict[int, Cover] = {}  # what the keys of nodes that must run cover
        self._attempts: Counter[int] = Counter()
        self._absent: set[int] = set()  # result known, bytes evicted
        self._wanted: set[int] = set()  # of those, the ones whose bytes a node needs
        self._running: dict[int, Run] = {}

    def run(self, targets: tuple[str, ...]) -> None:
        """Bring every target to an end. Failures are in ``outcomes``; only the engine's own trouble raises."""
        needed = self.graph.needed(targets)
        inputs = {i: self.graph.nodes[i].inputs.values() for i in self.graph.order if i in needed}
        expected = self._expected = Expected((self.graph.nodes[i] for i in inputs), self._traces)
        alone = {i for i in inputs if self._pools.takes_all(expected.need(self.graph.nodes[i]))}
        priority = expected.priority(self.graph, needed, alone)
        places = {i: self.graph.nodes[i].host for i in inputs}
        self._agenda = Agenda(inputs, priority, alone=alone, places=places, keep_going=self._keep_going)
        for name in targets:
            self._awaited.add(name, self.graph.targets[name].nodes)
        try:
            while self._step():
                pass
            for index in self._agenda.left():
                self._end(index, Outcome("skipped"))
            self._awaited.finish()
        finally:
            with Held():
                self._executor.close()
                with contextlib.suppress(StoreError):  # else the error on its way would be lost
                    self._sync()
                for run in self._running.values():
                    release(run.locks)
                    self._store.abandon(run.base)
                self._workplaces.close()
                self._inputs.close()

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _consider(self, index: int) -> None:
        """All inputs have ended: is the result known, or must the node run?"""
        node = self.graph.nodes[index]
        if self._agenda.lacks(index):
            return self._end(index, Outcome("skipped"))
        inputs = {role: _result(self.outcomes[source]).output for role, source in node.inputs.items()}
        parts = self._keyer.parts(node, inputs)
        if self._keyer.problems:  # something went, or broke, since the build began
            return self._end(index, Outcome("failed", failure=unreadable(node, self._keyer)))
        self._covers[index] = self._keyer.cover(node)
        action = judge(node, self._keyer.key(parts), parts, self._store.lookup, self._traces.get(node.position))
        self.actions[index] = action
        if action.status != "cached":
            return self._bring(index)
        assert action.result is not None
        if (self._remeasure and node.exclusive) or (self._check and not node.nondeterministic and node.run):
            self.actions[index] = replace(action, why=Explanation("requested"))
            return self._agenda.queue(index)
        if action.evicted and (index in self._awaited or index in self._wanted):
            return self._bring(index)
        self._record(action, action.result, absent=action.evicted)
        return self._end(index, Outcome("cached", action.result))

    def _bring(self, index: int) -> None:
        """Its bytes are needed and not here, or not sound: fetch them from where they are shared, else run it."""
        if (action := self.actions[index]).evicted:
            action = self.actions[index] = replace(action, why=Explanation("evicted"))
        known = action.damaged or action.result
        if known is None or known.imported or not self._fetching.start(index, known):
            self._agenda.queue(index)

    def _record(self, action: Action, result: ActionResult, *, absent: bool = False) -> None:
        """``absent``: the bytes were evicted. If not, they are there, though perhaps another node made them."""
        index = action.node.index
        (self._absent.add if absent else self._absent.discard)(index)
        if not absent:
            self._wanted.discard(index)
        assert action.key is not None
        assert action.parts is not None
        trace = Trace(action.key, action.parts, result.seconds, result.peak_rss)
        self._traces.record(self.graph.positions[index], trace)

    def _end(self, index: int, outcome: Outcome, run: Run | None = None, *, synced: bool = True) -> None:
        """A node has ended, perhaps after a ``run``. Its dependents go on; it is announced once it is ``synced``."""
        ended = Ended(index, outcome, run, again=index in self.outcomes)
        if run is not None:
            self._free(run, locks=synced)
        self.outcomes[index] = outcome
        self._agenda.ended(index, ok=outcome.result is not None)
        if synced:
            self._announce(ended)
        else:
            self._group.add(ended)

    def _announce(self, ended: Ended) -> None:
        """Notify the observers and the targets that asked for the node."""
        self._observe.finished(self.graph.nodes[ended.node], ended.outcome)
        if not ended.again:
            self._awaited.ended(ended.node)

    # -- running -----------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Decide what can be decided, start what can start, then wait for news. False when nothing is left to do."""
        agenda = self._agenda
        for arrived in self._fetching.arrived():
            action = self.actions[arrived]
            if isinstance(found := self._store.lookup(_key(action)), Hit):
                self._record(action, found.result)
                self._end(arrived, Outcome("cached", found.result))
            else:
                agenda.queue(arrived)
        while (index := agenda.due()) is not None:
            self._consider(index)
        self._awaited.finish()  # before anything starts: a measurement is not to be disturbed
        agenda.next_round()
        self._pools.next_round()
        while (index := agenda.next(self._pools.is_full, idle=self._pools.running == 0)) is not None:
            self._start(index)
        self._awaited.finish()
        if not agenda.is_done or self._running or (self._fetching.is_open and not agenda.stopped):
            self._wait()
        elif self._group.is_open:
            self._sync()
        else:
            return False
        return True

    def _wait(self) -> None:
        timeout = 0.0 if self._agenda.is_due else _POLL if self._agenda.is_held or not self._running else None
        pauses = (timeout, self._observe.pause, self._group.pause, self._fetching.pause)
        messages = self._executor.wait(min((each for each in pauses if each is not None), default=None))
        if self._group.is_due or (self._group.is_open and not messages):
            self._sync()
        for message in messages:
            if isinstance(message, Finished):
                self._finished(message)
            elif isinstance(message, Progress):
                self._observe.progress(self.graph.nodes[message.token], message)
            else:
                node = self.graph.nodes[message.token]
                self._pools.began(message.token)
                self._starts.took(_process(self.graph, node), self._observe.working(node))
        self._observe.beat()

    def _start(self, index: int) -> None:
        """Start a node that the agenda gave, if its inputs, the machine and other processes allow it now."""
        action, node = self.actions[index], self.graph.nodes[index]
        gone = self._gone(index)
        if gone:
            return self._agenda.starve(index, gone)
        seconds, starting = self._expected.seconds(node), self._starts.expected(_process(self.graph, node))
        if not self._pools.try_acquire(index, self._expected.need(node), seconds, starting):
            return self._agenda.put_off(index)
        locks = acquire(self._store, _key(action), exclusive=node.exclusive, host=node.host)
        if locks is None:
            self._pools.release(index)
            return self._agenda.hold(index)
        found = self._store.lookup(_key(action))
        if isinstance(found, Hit) and action.why.reason != "requested":
            release(locks)
            self._pools.release(index)
            self._record(action, found.result)
            return self._end(index, Outcome("cached", found.result))
        return self._launch(action, locks)

    def _launch(self, action: Action, locks: tuple[Lock, ...]) -> None:
        node = action.node
        base, out, scratch = self._workplaces.take()
        taken = {role: self._inputs.get(_result(self.outcomes[source]).output) for role, source in node.inputs.items()}
        log = self._observe.log_path(node)
        run = Run(action, locks, base, log, tuple(taken.values()))
        self._running[node.index] = run
        preload = preloads(self.graph, node)
        self._observe.started(node, action.why, log, preload)
        if node.role == "import":
            self._observe.working(node)
            self._import(run, out)
            return
        paths = {role: each.path for role, each in taken.items()}
        request = make_request(
            self.graph, self._keyer, node, paths, out=out, scratch=scratch,
            checkpoint=self._observe.checkpoint_path(_key(action)), ignore=self._observe.own_dirs,
            gpus=self._pools.devices(node.index) if node.options.gpus else None, host=self._pools.place(node.index),
        )  # fmt: skip
        timeout, memory = node.options.timeout, self._expected.retries.memory(node)
        self._executor.start(node.index, request, preload=preload, log=log, timeout=timeout, memory=memory)

    def _import(self, run: Run, out: Path) -> None:
        node = run.action.node
        try:
            import_file(self.graph.spec.root, str(node.params["file"]), self._keyer.read_files(node), out)
        except (OSError, CbuildError) as error:
            self._fail(run, "raised", str(error), getattr(error, "hint", None))
            return
        if (changed := self._covers[node.index].changed()) is not None:
            self._unsettled(run, changed)
        else:
            self._commit(run, WorkResult(ok=True, sandbox=ENGINE))

    def _gone(self, index: int) -> set[int]:
        """The inputs whose bytes were evicted or are corrupt. They are made again first."""
        sources = set(self.graph.nodes[index].inputs.values())
        gone = sources & self._absent
        for source in sources - gone:
            try:
                self._inputs.get(_result(self.outcomes[source]).output)
            except CorruptObject:
                gone.add(source)
        self._absent |= gone
        for source in gone - self._wanted:
            self._wanted.add(source)
            self._bring(source)
        return gone

    # -- ending ------------------------------------------------------------------------------------------------------

    def _finished(self, message: Finished) -> None:
        run = self._running[message.token]
        result = message.result
        touched = next((name for name in map(self._inputs.tampered, run.inputs) if name), None)
        spoiled = touched is None and any(map(self._inputs.spoiled, run.inputs))
        again = message.again or self._expected.retries.again(run.action.node, message.cause)
        if spoiled or again:  # another node wrote into its input, or ended its process; or it may be retried
            self._free(run)
            self._observe.stopped(run.action.node, message)
            self._agenda.queue(message.token)
            return
        changed = None if touched else self._covers[message.token].changed()
        if changed is not None and message.cause in ("ok", "raised"):
            # What it complains of may be half an edit, and what it made is of no one key.
            self._unsettled(run, changed, result.trace)
        elif message.cause != "ok":
            self._fail(run, message.cause, result.error or message.detail, result.hint, result.trace, result)
        elif touched is not None:
            text = f"its input ({touched}) was changed while it ran"
            self._fail(run, "raised", text, "an input is for reading; write to ctx.out")
        else:
            self._commit(run, result)

    def _unsettled(self, run: Run, changed: str, trace: str | None = None) -> None:
        """Something that the key covers changed while the node ran: decide the node once more, by what is there now,
        or let it fail after too many attempts."""
        index = run.action.node.index
        self._attempts[index] += 1
        if self._attempts[index] == _ATTEMPTS:
            text = f"'{changed}' changed while it ran, {_ATTEMPTS} times"
            hint = "stop whatever writes to it; a node itself writes to ctx.out alone"
            return self._fail(run, "raised", text, hint, trace)
        self._keyer.renew()
        self._free(run)
        self._observe.stopped(run.action.node)
        return self._consider(index)

    def _commit(self, run: Run, made: WorkResult) -> None:
        action, node = run.action, run.action.node
        out = run.base / "out"
        if (bad := unsound(str(out))) is not None:
            return self._fail(run, "raised", str(bad), bad.hint)
        kind = self.graph.registry.kinds.get(node.kind)
        if (unmet := first_unmet(kind.files if kind is not None else ("*",), out)) is not None:
            text = f"its output has no file matching '{unmet}', which kind '{node.kind}' requires"
            return self._fail(run, "raised", text)
        assert action.key is not None
        checked = self._check and action.result is not None and action.why.reason == "requested"
        if (checked or node.host) and not node.nondeterministic:
            if changed := differences(self._store, _key(action), out):
                text = f"declared deterministic, but {_who(node)} produced different bytes: {', '.join(changed)}"
                return self._fail(run, "differs", text, "fix it; or declare it nondeterministic, with the reason")
            if checked:
                return self._end(node.index, Outcome("built", action.result), run)
        self._group.open_if_hurried()
        try:
            result = self._store.commit(
                out, key=action.key, kind=node.kind, label=node.position, seconds=made.seconds,
                peak_rss=made.peak_rss, facts=dict(made.facts), sandbox=made.sandbox, consume=True,
            )  # fmt: skip
        except BadOutput as error:
            return self._fail(run, "raised", str(error), error.hint)
        self._group.committed()
        self._expected.ran(node, result.seconds)
        self._record(action, result)
        self._end(node.index, Outcome("built", result), run, synced=False)
        return None if self._group.is_open else self._sync()

    def _sync(self) -> None:
        """Make known the ends of nodes whose results are durable now."""
        for ended in self._group.sync():
            if ended.run is not None:
                self._observe.drop_checkpoint(_key(ended.run.action))
                release(ended.run.locks)
            self._announce(ended)
        self._awaited.finish()
        self._group.announced()

    def _fail(
        self, run: Run, cause: str, message: str, hint: str | None = None, trace: str | None = None,
        said: WorkResult = WorkResult(ok=False),  # noqa: B008
    ) -> None:  # fmt: skip
        with contextlib.suppress(OSError):  # made for the node, which may have left something there
            self._observe.checkpoint_path(_key(run.action)).rmdir()
        node = run.action.node
        failure = NodeFailure(node, cause, message, hint, trace, run.log, said.about, said.change)
        self._end(node.index, Outcome("failed", failure=failure), run)

    def _free(self, run: Run, *, locks: bool = True) -> None:
        """It no longer runs. Without ``locks``: what it made has still to be synced, under them."""
        index = run.action.node.index
        del self._running[index]
        self._pools.release(index)
        (self._workplaces.remove if locks else self._workplaces.leave)(run.base)
        if locks:
            release(run.locks)


def _who(node: Node) -> str:
    return node.host or "this run"


def _key(action: Action) -> Digest:
    assert action.key is not None
    return action.key


def _process(graph: Graph, node: Node) -> tuple[str, ...]:
    """What decides how long its process takes to start."""
    return (*preloads(graph, node), *([node.host] if node.host else []))


def _result(outcome: Outcome) -> ActionResult:
    assert outcome.result is not None
    return outcome.result
