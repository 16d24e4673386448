"""Building targets: the scheduler runs nodes; a target that is complete is judged by its gates, then published."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..digest import Digest
from ..errors import CbuildError, CompressfileError, Interrupted
from ..evaluate.evidence import Evidence
from ..evaluate.history import Entry, History
from ..evaluate.results import FILE, Results
from ..evaluate.roles import Roles
from ..evaluate.target import Assessment, assess
from ..execute.events import Observer
from ..execute.executor import Executor
from ..execute.local import LocalExecutor, at_once
from ..execute.observe import Observe
from ..execute.outcome import NodeFailure
from ..execute.pools import Pools
from ..execute.sandbox import sandboxes
from ..execute.scheduler import Scheduler
from ..graph import TargetPlan
from ..interrupts import Held
from ..project import Project, Selection
from ..publish import SEAL
from ..store import ActionResult, Tree
from . import provenance, signing
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
    memory, cpus = project.facts.get("memory"), project.facts.get("cpu.count")
    slots = at_once(jobs or (cpus if isinstance(cpus, int) else 1))
    own = tuple(str(path) for path in (project.state, project.publisher.root, project.cache_path))
    observe = Observe(project.state / "logs", own_dirs=own, observers=[*observers, *_plugin_observers(project)])
    pools = Pools(cpus=slots, memory=memory if isinstance(memory, int) else 0)
    selection = selection or project.select(targets)
    pythons = prepare(project, selection.names, observe, check=check, remeasure=remeasure)
    build = Build(
        project,
        selection,
        _executor(project, pythons),
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
    return LocalExecutor(project.environ, packages=packages, sandbox=kinds[0], strict=kinds[1])


def measure_targets(project: Project, targets: Sequence[str], *, jobs: int | None = None) -> BuildReport:
    """Build and measure targets and publish nothing: what is published stays as it is."""
    return build_targets(project, targets, jobs=jobs, publish=False)


def _plugin_observers(project: Project) -> list[Observer]:
    """The plugins that asked to see events; each is given plain data."""
    return [lambda event, tell=tell: tell(msgspec.to_builtins(event)) for tell in project.registry.observers]  # type: ignore[misc]


class Build:
    """One run of ``cbuild TARGET…``."""

    def __init__(
        self, project: Project, selection: Selection, executor: Executor, pools: Pools, observe: Observe,
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
        self._scheduler = Scheduler(
            project.graph, project.keyer, project.store, executor, pools, project.traces, observe, self._finish,
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
            self._scheduler.run(names)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; finished nodes are kept") from None
        finally:
            with Held():
                project.save()
                project.store.tidy()
        report = self._summary()
        self._observe.ended(report.exit_code, time.monotonic() - began, dict(report.counts))
        return report

    @property
    def failures(self) -> list[NodeFailure]:
        return [o.failure for o in self._scheduler.outcomes.values() if o.failure is not None]

    def _summary(self) -> BuildReport:
        counts: dict[str, int] = {}
        for outcome in self._scheduler.outcomes.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
        order = {name: number for number, name in enumerate(self._project.spec.targets)}
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

    def _finish(self, name: str) -> None:
        """Everything that a target needs has ended: judge it, and publish or withdraw it."""
        with Held():
            self._settle(name)

    def _settle(self, name: str) -> None:
        target = self._project.graph.targets[name]
        outcomes = self._scheduler.outcomes
        complete = all(outcomes[i].result is not None for i in target.nodes)
        culprits = [] if complete else self._culprits(target)
        base: dict[str, Any] = {"name": name, "platform": target.spec.platform, "baseline": target.baseline}
        if culprits:
            withdrawn = not self._leave and self._project.publisher.withdraw(name)
            reason = f"{', '.join(culprits)} failed" + (f"; build/{name} was removed" if withdrawn else "")
            self._report(TargetReport(status="failed", reason=reason, **base))
            return
        if not complete:
            self._report(TargetReport(status="not built", reason="the build stopped at a failure", **base))
            return
        result = outcomes[target.artifact].result
        assert result is not None
        found = assess(
            self._project.graph,
            target,
            Results(self._project.store, self._made),
            History(self._project.state / "history"),
        )
        base |= {"metrics": found.metrics, "unmeasured": found.unmeasured, "verdicts": found.verdicts}
        base |= {"warnings": found.warnings, "digest": result.output, "size": result.size, "facts": result.facts}
        if self._judge_only:
            self._report(TargetReport(status="gate failed" if found.missed else "checked", **base))
        elif found.missed:
            withdrawn = self._project.publisher.withdraw(name)
            reason = "; ".join(f"{v.metric} {v.limit} {v.verdict}" for v in found.missed)
            reason += f"; build/{name} was removed" if withdrawn else ""
            reason += f"; the new artifact {self._reject(target, result.output, found)}"
            self._report(TargetReport(status="gate failed", reason=reason, **base))
        else:
            shutil.rmtree(self._rejected(name), ignore_errors=True)
            written = self._publish(target, found)
            status: Any = "published" if written else "up to date"
            lost = self._remember(target, result.output, found) if written else None
            reason = f"its history cannot be written: {lost}" if lost else ""
            self._report(TargetReport(status=status, directory=f"build/{name}", reason=reason, **base))

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

    def _remember(self, target: TargetPlan, artifact: Digest, found: Assessment) -> OSError | None:
        """A line in the history of the target; what prevented it."""
        graph, actions = self._project.graph, self._scheduler.actions
        keys = {graph.nodes[i].position: actions[i].key or "" for i in target.nodes if i in actions}
        said = [concern.message for concern in found.warnings]
        entry = Entry.of(target.name, time.time(), artifact, keys, found.metrics, said, target.baseline)
        return History(self._project.state / "history").append(entry)

    def _files(self, artifact: Digest) -> dict[str, bytes]:
        """The files of a small artifact, by path."""
        cas = self._project.store.cas
        return {file.path: cas.read(file.digest) for file in cas.read_tree(artifact).files}

    def _publish(self, target: TargetPlan, found: Assessment) -> bool:
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
            said = provenance.statement(
                target.name, tree, directory, [FILE], steps, project.stat, environment, sorted(companions)
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
        return project.publisher.publish(target.name, artifact, files, made_of, seal)
