"""Before a build: the environments that its nodes run in are made, as far as a node has to run."""

from __future__ import annotations

from collections.abc import Sequence

from ..environment.making import make
from ..execute.events import EnvironmentStatus
from ..execute.observe import Observe
from ..plan import Action
from ..project import Project

__all__ = ["prepare"]


def prepare(
    project: Project, targets: Sequence[str], observe: Observe, *, check: bool = False, remeasure: bool = False
) -> tuple[str, ...]:
    """Make what is not made and needed. Returns the interpreters of those environments that are there.

    One that nothing has to run in may be missing: that is reported, and no error. Raises Incompatible for one that
    cannot be made, CompressfileError for a lock that is wrong.
    """
    graph, environments = project.graph, project.keyer.environments
    nodes = (graph.nodes[index] for index in sorted(graph.needed(targets)))
    names = dict.fromkeys(node.environment for node in nodes if node.environment is not None)
    missing = [name for name in names if not environments.is_made(name)]
    if missing:
        project.store.use()  # so that none is removed again before it is used
        plan = project.plan(targets, remeasure=remeasure)
        due = {a.node.environment for a in plan.actions.values() if _may_run(a, check=check)}
        for name in missing:
            _make(project, name, observe, is_due=name in due)
    return tuple(environments.interpreter(name) for name in names if environments.is_made(name))


def _may_run(action: Action, *, check: bool) -> bool:
    return action.status != "cached" or action.evicted or (check and not action.node.nondeterministic)


def _make(project: Project, name: str, observe: Observe, *, is_due: bool) -> None:
    wanted = project.keyer.environments.wanted(name)
    what = f"{len(wanted.lock.pins)} distributions of {wanted.lock.path}"
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
