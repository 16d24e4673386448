"""What a profile of a target is asked for, and the one that the cache has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...api import Profile, Profiling, RunMetric
from ...compressfile.nodes import Map, located
from ...errors import UsageError
from ...evaluate.roles import Roles
from ...graph import Ask
from ...project import Project
from .asked import asked
from .beside import Beside, beside

__all__ = ["REPEATS", "ask_profile", "known_profiles", "profile_of", "profiles_beside", "unprofiled"]

REPEATS = 50
_NAME = "profile"  # of the measurement, and so of its log


def ask_profile(
    project: Project, name: str, *, batch: int | None = None, repeats: int = REPEATS, warmup: int | None = None
) -> Ask:
    """``batch``: None for that of the target's latency. UsageError if its runtime has no profiler."""
    given = {"batch": batch, "repeats": repeats, "warmup": warmup}
    params = {**_as_timed(project, name), **{key: value for key, value in given.items() if value is not None}}
    written = located(params, project.spec.targets[name].mark)
    assert isinstance(written, Map)
    return Ask(_record(project, name), name, params=written, alone=True)


def unprofiled(name: str, reason: str) -> str:
    """``reason``: why the graph has no such measurement."""
    return f"'{name}' cannot be profiled here: {reason.rpartition('measured here: ')[2]}"


def profile_of(result: Any) -> Profile:
    """What a profiler returned. ValidationError of msgspec if that is no profile."""
    return msgspec.convert(result, Profile)


def known_profiles(project: Project, names: Iterable[str]) -> dict[str, Profile | str]:
    """The profile of each target as it is declared, or else why there is none. Runs nothing."""
    found: dict[str, Profile | str] = {}
    asks = []
    for name in names:
        try:
            asks.append(ask_profile(project, name))
        except UsageError as error:
            found[name] = str(error)
    for name, result in asked(project, asks).items():
        if isinstance(result, str):
            found[name] = unprofiled(name, result)
        elif result is None:
            found[name] = f"'{name}' was not profiled: 'cbuild profile {name}' measures it"
        else:
            try:
                found[name] = profile_of(result)
            except msgspec.ValidationError as error:
                found[name] = f"the profiler of '{name}' did not return a profile: {error}"
    return found


def _as_timed(project: Project, name: str) -> dict[str, Any]:
    """The batch and the sizes at which the target's speed is measured."""
    measured = {m.name: m.node for m in project.graph.targets[name].metrics if m.node is not None}
    speed = Roles.of(project.graph.metrics).speed_of(measured)
    params = project.graph.nodes[measured[speed]].params if speed is not None else {}
    return {key: params[key] for key in ("batch", "axes") if key in params}


def _record(project: Project, name: str) -> RunMetric:
    """The profiler of the target's runtime, as a metric. UsageError if it has none."""
    graph, registry = project.graph, project.registry
    node = graph.nodes[graph.targets[name].artifact]
    if node.role == "compile":
        owner, function = f"backend '{node.name}'", registry.backends[node.name].profile
    else:
        kind = registry.kinds.get(node.kind)
        owner, function = f"the reference runtime of {node.kind}", kind.profile if kind is not None else None
    if function is None:
        able = sorted(backend.name for backend in registry.backends.values() if backend.profile is not None)
        hint = f"backends that have one: {', '.join(able)}" if able else None
        raise UsageError(f"'{name}' cannot be profiled: {owner} has no profiler", hint=hint)
    return RunMetric(name=_NAME, run=function, params=Profiling, summary="time of each operator")


def profiles_beside(first: Profile | str, second: Profile | str) -> Beside | str:
    """The two side by side, or why they are not. Each as :func:`known_profiles` has it."""
    if isinstance(first, str) or isinstance(second, str):
        return "; ".join(each for each in (first, second) if isinstance(each, str))
    try:
        return beside(first, second)
    except ValueError as error:
        return f"{error}: times of runs with different numbers of samples do not compare"
