"""Building targets: the scheduler runs nodes; a target that is complete is judged by its gates, then published."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .. import signing
from ..digest import Digest
from ..errors import CbuildError, CompressfileError, Incompatible, Interrupted
from ..evaluate.evidence import Evidence
from ..evaluate.history import Entry, History
from ..evaluate.results import FILE, Results
from ..evaluate.roles import Roles
from ..evaluate.target import Assessment, assess
from ..execute.away import Away
from ..execute.events import Observer
from ..execute.executor import Executor
from ..execute.local import LocalExecutor, at_once
from ..execute.observe import Observe
from ..execute.outcome import NodeFailure
from ..execute.places import Places
from ..execute.pools import Pools
from ..execute.routed import Routed
from ..execute.sandbox import sandboxes
from ..execute.scheduler import Scheduler
from ..graph import TargetPlan
from ..interrupts import Held
from ..machines.machines import Machines, workers
from ..plan import Failed, Failures, look_ahead
from ..platforms import Facts
from ..project import Project, Selection, connected, renewed
from ..publish import SEAL, Staged
from ..remote.remote import Remote
from ..store import ActionResult, Tree
from . import provenance
from .envelope import sealed
from .environments import prepare
from .outcome import BuildReport, TargetReport

__all__ = ["Build", "build_targets", "measure_targets"]


def build_targets(
    project: Project,
    targets: Sequence[str] = ("all",),
    *,
    selection: Selection | None = None,
    observers: Sequence[Observer] = (),
    jobs: int | None = None,
    keep_going: bool = False,
    check: bool = False,
    remeasure: bool = False,
    publish: bool = True,
) -> BuildReport:
    """What ``cbuild TARGET…`` does, without its console. ``jobs``: CPU slots, by default the machine's.

    Node failures and unmet gates are in the report. Raises CompressfileError, Incompatible, StoreError, Interrupted.
    """
    own = tuple(str(path) for path in (project.state, project.publisher.root, project.cache_path))
    observe = Observe(project.state / "logs", own_dirs=own, observers=[*observers, *_plugin_observers(project)])
    if project.machines is not None:
        project.machines.on_wait = observe.machine
    selection = selection or project.select(targets)
    if renewed(project, selection.names, check=check, remeasure=remeasure):
        selection = project.select(selection.words)
        if not selection.names:
            raise Incompatible("none of these targets can be built now", hint="; ".join(selection.skipped.values()))
    cpus = project.facts.get("cpu.count")
    slots = at_once(jobs or (cpus if isinstance(cpus, int) else 1))
    shared = any(node.options.gpus for node in project.graph.nodes)
    here = _pools_of(project.facts, slots, gpus=shared)
    pools = Places(here, partial(_pools_at, project.machines, gpus=shared) if project.machines is not None else None)
    selection = selection or project.select(targets)
    prepared = prepare(project, selection.names, observe, check=check, remeasure=remeasure, keep_going=keep_going)
    build = Build(
        project,
        selection,
        prepared.around(_executor(project, prepared.pythons)),
        pools,
        observe,
        keep_going=keep_going,
        check=check,
        remeasure=remeasure,
        publish=publish,
    )
    return build.run(slots)


def _executor(project: Project, pythons: Sequence[str]) -> Executor:
    nodes = project.graph.nodes
    isolated = any(node.isolate for node in nodes)
    kinds = sandboxes(project.spec, project.environ, project.cache_path, project.state, pythons, strict=isolated)
    packages = project.keyer.packages(nodes)
    here = LocalExecutor(project.environ, packages=packages, sandbox=kinds[0], strict=kinds[1])
    if project.machines is None:
        return here
    machines = project.machines
    return Routed(here, lambda host: Away(host, lambda: machines.session(host), machines.give_up))


def _pools_at(machines: Machines, host: str, *, gpus: bool) -> list[Pools]:
    """What the workers at an address have."""
    return [_pools_of(machines.facts(host), gpus=gpus) for _ in range(workers(machines.executor(host), host))]


def _pools_of(facts: Facts, slots: int | None = None, *, gpus: bool) -> Pools:
    """What a machine has. ``gpus``: whether a node asks for some; looking for them takes a while."""
    memory, cpus = facts.get("memory"), facts.get("cpu.count")
    return Pools(
        cpus=slots or (cpus if isinstance(cpus, int) else 1),
        memory=memory if isinstance(memory, int) else 0,
        gpus=facts.gpus if gpus else (),
    )


def measure_targets(project: Project, targets: Sequence[str], *, jobs: int | None = None) -> BuildReport:
    """Build and measure targets and publish nothing: what is published stays as it is."""
    return build_targets(project, targets, jobs=jobs, publish=False)


def _plugin_observers(project: Project) -> list[Observer]:
    """The plugins that asked to see events; each is given plain data."""
    return [lambda event, tell=tell: tell(msgspec.to_builtins(event)) for tell in project.registry.observers]  # type: ignore[misc]


class _Settled(NamedTuple):
    """A target that was judged. ``staged``: to be published; then ``entry`` is for its history."""

    report: TargetReport
    staged: Staged | None = None
    entry: Entry | None = None


class Build:
    """One run of ``cbuild TARGET…``."""

    def __init__(
        self, project: Project, selection: Selection, executor: Executor, pools: Places, observe: Observe,
        *, keep_going: bool = False, check: bool = False, remeasure: bool = False,
        publish: bool = True,
    ) -> None:  # fmt: skip
        self._project = project
        self._selection = selection
        self._observe = observe
        self._judge_only = check or not publish
        self._leave = not publish
        self._signer = None if self._judge_only else signing.from_environment(project.environ)
        self._reports: dict[str, TargetReport] = {}
        self._history = History(project.state / "history")
        self._scheduler = Scheduler(
            project.graph, project.keyer, project.store, executor, pools, project.traces, project.starts, observe,
            self._finish,
            keep_going=keep_going, check=check, remeasure=remeasure,
        )  # fmt: skip

    def run(self, jobs: int) -> BuildReport:
        """Build every selected target. What fails is in the report, not raised. ``jobs``: CPU slots."""
        project, names = self._project, self._selection.names
        needed = [project.graph.nodes[i] for i in sorted(project.graph.needed(names))]
        for node in needed:
            project.keyer.check(node)
        if project.keyer.problems:
            raise CompressfileError(dict.fromkeys(project.keyer.problems), dict(project.spec.texts))
        project.publisher.sweep()
        began = time.monotonic()
        self._observe.began(project.graph, names, project.traces, jobs)
        for name, reason in self._selection.skipped.items():
            self._report(TargetReport(name=name, status="skipped", platform=self._platform(name), reason=reason))
        project.store.use()
        try:
            remote = connected(project)
            if remote is not None:
                remote.resume()
                look_ahead(project.graph, names, project.keyer, project.store)
            self._scheduler.run(names)
            if remote is not None:
                self._send(remote)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; finished nodes are kept" + self._unsent()) from None
        finally:
            with Held():
                _remember(project, self._scheduler)
                project.save()
                if project.remote is not None:
                    project.remote.abandon()
                project.store.tidy()
        report = self._summary()
        self._observe.ended(report.exit_code, time.monotonic() - began, dict(report.counts))
        return report

    def _send(self, remote: Remote) -> None:
        """Wait until what was built is in the remote cache."""
        if left := remote.finish(self._observe.sending):
            sys.stderr.write(f"warning: {_unsent(left)}\n")

    def _unsent(self) -> str:
        remote = self._project.remote
        left = remote.writer.left if remote is not None else 0
        return f"; {_unsent(left)}" if left else ""

    @property
    def failures(self) -> list[NodeFailure]:
        return [o.failure for o in self._scheduler.outcomes.values() if o.failure is not None]

    def _summary(self) -> BuildReport:
        counts: dict[str, int] = {}
        for outcome in self._scheduler.outcomes.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        order = {name: number for number, name in enumerate(self._project.graph.targets)}
        reports = tuple(sorted(self._reports.values(), key=lambda report: order[report.name]))
        statuses = {report.status for report in reports}
        code = 1 if statuses & {"failed", "not built"} or self.failures else 3 if "gate failed" in statuses else 0
        roles = Roles.of(self._project.graph.metrics)
        return BuildReport(
            targets=reports, counts=counts, exit_code=code, units=self._units(), roles=roles,
            install=self._selection.install,
        )  # fmt: skip

    def _units(self) -> dict[str, str]:
        return {name: metric.unit for name, metric in self._project.graph.metrics.items()}

    def _platform(self, name: str) -> str | None:
        return self._project.spec.targets[name].platform

    def _report(self, report: TargetReport) -> None:
        self._reports[report.name] = report
        values = ((name, measured.get("value")) for name, measured in report.metrics.items())
        warnings = [concern.message for concern in report.warnings]
        self._observe.target(report.name, report.status, report.reason, report.directory, values, warnings)

    # -- one target --------------------------------------------------------------------------------------------------

    def _finish(self, names: Sequence[str]) -> None:
        """Everything that these targets need has ended: judge each, and publish or withdraw it."""
        settled: list[_Settled] = []
        try:
            for name in names:
                with Held():
                    settled.append(self._settle(name))
        finally:
            with Held():
                self._place(settled)

    def _place(self, settled: Sequence[_Settled]) -> None:
        """Publish what is staged, and report the targets."""
        self._project.publisher.place([each.staged for each in settled if each.staged is not None])
        for report, staged, entry in settled:
            lost = self._history.append(entry) if staged is not None and entry is not None else None
            reason = f"its history cannot be written: {lost}" if lost else report.reason
            self._report(msgspec.structs.replace(report, reason=reason))

    def _settle(self, name: str) -> _Settled:
        target = self._project.graph.targets[name]
        outcomes = self._scheduler.outcomes
        complete = all(outcomes[i].result is not None for i in target.nodes)
        culprits = [] if complete else self._culprits(target)
        base: dict[str, Any] = {"name": name, "platform": target.spec.platform, "baseline": target.baseline}
        if culprits:
            withdrawn = not self._leave and self._project.publisher.withdraw(name)
            reason = f"{', '.join(culprits)} failed" + (f"; build/{name} was removed" if withdrawn else "")
            return _Settled(TargetReport(status="failed", reason=reason, **base))
        if not complete:
            return _Settled(TargetReport(status="not built", reason="the build stopped at a failure", **base))
        result = outcomes[target.artifact].result
        assert result is not None
        found = assess(self._project.graph, target, Results(self._project.store, self._made), self._history)
        base |= {"metrics": found.metrics, "unmeasured": found.unmeasured, "verdicts": found.verdicts}
        base |= {"warnings": found.warnings, "digest": result.output, "size": result.size, "facts": result.facts}
        if self._judge_only:
            return _Settled(TargetReport(status="gate failed" if found.missed else "checked", **base))
        if found.missed:
            withdrawn = self._project.publisher.withdraw(name)
            reason = "; ".join(f"{v.metric} {v.limit} {v.verdict}" for v in found.missed)
            reason += f"; build/{name} was removed" if withdrawn else ""
            reason += f"; the new artifact {self._reject(target, result.output, found)}"
            return _Settled(TargetReport(status="gate failed", reason=reason, **base))
        if os.path.lexists(rejected := self._rejected(name)):
            shutil.rmtree(rejected, ignore_errors=True)
        staged = self._stage(target, found)
        report = TargetReport(status="published" if staged else "up to date", directory=f"build/{name}", **base)
        return _Settled(report, staged, self._entry(target, result.output, found) if staged else None)

    def _made(self, index: int) -> ActionResult | None:
        return self._scheduler.outcomes[index].result

    def _culprits(self, target: TargetPlan) -> list[str]:
        graph, outcomes = self._project.graph, self._scheduler.outcomes
        below = graph.ordered(target.nodes)
        return [graph.nodes[i].position for i in below if i in outcomes and outcomes[i].failure is not None]

    def _rejected(self, name: str) -> Path:
        return self._project.state / "rejected" / name

    def _reject(self, target: TargetPlan, artifact: Digest, found: Assessment) -> str:
        """Keep what missed a gate for inspection, never in ``build/``. Says where, from the project."""
        where = self._rejected(target.name)
        evidence = Evidence.of(target.name, target.spec.platform, found).encoded()
        lost = self._project.publisher.reject(target.name, artifact, {FILE: evidence}, where)
        place = where.relative_to(self._project.root).as_posix()
        return f"is in {place}" if lost is None else f"cannot be kept in {place}: {lost.strerror or lost}"

    def _entry(self, target: TargetPlan, artifact: Digest, found: Assessment) -> Entry:
        """Its line in the history of the target."""
        graph, actions = self._project.graph, self._scheduler.actions
        keys = {graph.nodes[i].position: actions[i].key or "" for i in target.nodes if i in actions}
        said = [concern.message for concern in found.warnings]
        return Entry.of(target.name, time.time(), artifact, keys, found.metrics, said, target.baseline)

    def _files(self, artifact: Digest) -> dict[str, bytes]:
        """The files of a small artifact, by path."""
        cas = self._project.store.cas
        return {file.path: cas.read(file.digest) for file in cas.read_tree(artifact).files}

    def _stage(self, target: TargetPlan, found: Assessment) -> Staged | None:
        """What is to be published of a target, unless it is."""
        project = self._project
        beside = [target.companions] if target.companions is not None else []
        order = [*beside, *project.graph.ordered([target.artifact])]
        actions = self._scheduler.actions
        steps = []
        for index in order:
            result = self._scheduler.outcomes[index].result
            assert result is not None
            steps.append((actions[index], result))
        companions = self._files(steps[0][1].output) if beside else {}
        metrics = Evidence.of(target.name, target.spec.platform, found).encoded()
        environment = project.keyer.environment

        def seal(directory: Path, tree: Tree) -> bytes:
            stat = project.stat if directory == project.publisher.path(target.name) else None
            said = provenance.statement(
                target.name, tree, directory, [FILE], steps, stat, environment, sorted(companions)
            )
            return sealed(said, directory / SEAL, self._signer)

        signer = self._signer.keyid if self._signer else None
        made_of = provenance.made_of(target.name, steps, environment, signer)
        artifact = steps[-1][1].output
        made = {file.path for file in project.store.cas.read_tree(artifact).files}
        if clash := companions.keys() & {FILE, SEAL, *made}:
            raise CbuildError(
                f"target '{target.name}' has a file named '{min(clash)}', which comes with its model as well",
                hint="rename the one that came with the model",
            )
        files = {FILE: metrics, **companions}
        return project.publisher.stage(target.name, artifact, files, made_of, seal)


def _unsent(left: int) -> str:
    what = "1 result is" if left == 1 else f"{left} results are"
    return f"{what} not in the remote cache; the next build that runs something sends them, or 'cbuild cache push'"


def _remember(project: Project, scheduler: Scheduler) -> None:
    """Why nodes failed, for advice. One that raised does so whenever it has this key; of another end the machine may be
    the cause."""
    failures = Failures(project.state)
    for index, outcome in scheduler.outcomes.items():
        action, failure = scheduler.actions.get(index), outcome.failure
        if action is None or action.key is None:
            continue
        if failure is not None and failure.cause == "raised":
            said = Failed(failure.message, failure.hint, failure.about, failure.change)
            failures.record(action.key, said)
        elif outcome.result is not None:
            failures.forget(action.key)
    failures.save()
