"""Before a build: the environments that its nodes run in are made, as far as a node has to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..api.work import WorkRequest, WorkResult
from ..environment.making import make
from ..errors import Incompatible
from ..execute.events import EnvironmentStatus
from ..execute.executor import Executor, Finished, Happening
from ..execute.logfile import note
from ..execute.observe import Observe
from ..plan import Action
from ..project import Project

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """``pythons``: interpreters of the environments that are there. ``lacking``: interpreter → why its environment
    cannot be made."""

    pythons: tuple[str, ...]
    lacking: Mapping[str, Incompatible] = field(default_factory=dict)

    def around(self, executor: Executor) -> Executor:
        """``executor``, but for nodes of environments that cannot be made: those fail when they are started."""
        return _Lacking(executor, self.lacking) if self.lacking else executor


def prepare(
    project: Project,
    targets: Sequence[str],
    observe: Observe,
    *,
    check: bool = False,
    remeasure: bool = False,
    keep_going: bool = False,
) -> Prepared:
    """Make what is not made and needed.

    One that nothing has to run in may be missing: that is reported, and no error. Raises Incompatible for one that
    cannot be made, unless the build is to ``keep_going``; CompressfileError for a lock that is wrong.
    """
    graph, environments = project.graph, project.keyer.environments
    nodes = (graph.nodes[index] for index in sorted(graph.needed(targets)))
    names = dict.fromkeys(node.environment for node in nodes if node.environment is not None)
    missing = [name for name in names if not environments.is_made(name)]
    lacking: dict[str, Incompatible] = {}
    if missing:
        project.store.use()  # so that none is removed again before it is used
        plan = project.plan(targets, remeasure=remeasure)
        due = {a.node.environment for a in plan.actions.values() if _may_run(a, check=check)}
        for name in missing:
            try:
                _make(project, name, observe, is_due=name in due)
            except Incompatible as error:
                if not keep_going:
                    raise
                observe.emit(EnvironmentStatus(environment=name, status="failed", detail=str(error).splitlines()[-1]))
                lacking[environments.interpreter(name)] = error
    made = tuple(environments.interpreter(name) for name in names if environments.is_made(name))
    return Prepared(made, lacking)


def _may_run(action: Action, *, check: bool) -> bool:
    return action.status != "cached" or action.evicted or (check and not action.node.nondeterministic)


def _make(project: Project, name: str, observe: Observe, *, is_due: bool) -> None:
    wanted = project.keyer.environments.wanted(name)
    what = f"{wanted.distributions} distributions of {wanted.lock.path}"
    if not is_due:
        place = project.keyer.environments.directory(name)
        observe.emit(EnvironmentStatus(environment=name, status="missing", detail=f"{place}, with {what}"))
        return
    observe.emit(EnvironmentStatus(environment=name, status="making", detail=what))
    seconds = make(
        wanted,
        project.keyer.environments.root,
        lambda line: observe.emit(EnvironmentStatus(environment=name, status="waiting", detail=line)),
    )
    observe.emit(EnvironmentStatus(environment=name, status="made", seconds=seconds or 0.0))


class _Lacking:
    """An :class:`~compressbuild.execute.executor.Executor` that starts no node whose interpreter is ``lacking``."""

    def __init__(self, inner: Executor, lacking: Mapping[str, Incompatible]) -> None:
        self._inner, self._lacking = inner, lacking
        self._failed: list[Happening] = []

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
        error = self._lacking.get(request.python)
        if error is None:
            self._inner.start(token, request, preload=preload, log=log, timeout=timeout, memory=memory)
            return
        note(log, f"{error}\n")
        result = WorkResult(ok=False, error=" ".join(str(error).split()), hint=error.hint)
        self._failed.append(Finished(token, result, "unavailable", result.error or ""))

    def wait(self, timeout: float | None = None) -> list[Happening]:
        failed, self._failed = self._failed, []
        return failed + self._inner.wait(0.0 if failed else timeout)

    def cancel(self, token: int) -> None:
        self._inner.cancel(token)

    def close(self) -> None:
        self._inner.close()
