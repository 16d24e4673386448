"""What a reader of a report needs besides the numbers: where they come from, and how the artifact is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...api import Kind
from ...errors import UsageError
from ...graph import Graph, TargetPlan
from ...plan import Action, Plan
from ...project import Project
from ...revision.git import Repository
from ...words import memory

__all__ = ["commit", "interface", "loading", "loading_of", "machine"]

_SETTING = re.compile(r"<([a-z][a-z0-9-]*)(?::([^=>]+)=([^>]+))?>")
_SIGNATURE = "signature"
"""The fact of a node that ran an artifact: ``inputs`` and ``outputs``, each with name, shape and dtype."""


def commit(root: Path) -> dict[str, Any] | None:
    """The commit that is checked out around ``root``, and how many tracked files below differ; None without one."""
    try:
        repository = Repository.around(root)
        found = repository.commit("HEAD")
        top, changed = repository.top.resolve(), repository.changed(found)
    except UsageError:  # no git, no repository, or nothing committed yet
        return None
    return {"id": found, "changed": sum((top / path).is_relative_to(root.resolve()) for path in changed)}


def machine(project: Project) -> dict[str, str]:
    """What the report was made on."""
    facts = project.facts
    model, count, room, system = (facts.get(name) for name in ("cpu.model", "cpu.count", "memory", "os"))
    found = {
        "processor": str(model) if model else "",
        "cores": str(count) if count else "",
        "memory": memory(room) if isinstance(room, int) else "",
        "system": str(system) if system else "",
    }
    return {name: value for name, value in found.items() if value}


def interface(plan: Plan, target: TargetPlan) -> dict[str, Any] | None:
    """Inputs and outputs of the artifact. ``seen``: by a node that ran it, else the inputs are those that the
    Compressfile declares of the model. None if neither says any."""
    for index in sorted(plan.graph.closure(target.nodes)):
        action = plan.actions.get(index)
        if action is None or action.result is None or action.node.inputs.get("subject") != target.artifact:
            continue
        said = action.result.facts.get(_SIGNATURE)
        if isinstance(said, Mapping):
            return {"seen": True, "inputs": said.get("inputs", []), "outputs": said.get("outputs", [])}
    declared = _declared(plan.graph, target)
    return {"seen": False, "inputs": declared, "outputs": []} if declared else None


def _declared(graph: Graph, target: TargetPlan) -> list[dict[str, Any]]:
    nodes = (graph.nodes[index] for index in graph.ordered([target.artifact]))
    names = [name for node in nodes if node.role == "source" for name in node.models]
    if len(set(names)) != 1:
        return []
    return [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype} for i in graph.spec.models[names[0]].inputs]


def loading_of(project: Project, action: Action, files: Iterable[str]) -> str:
    """Those of a published artifact, with the settings that the Compressfile declares; empty if its kind has none."""
    kind = project.registry.kinds.get(action.node.kind)
    return loading(kind, action.node.key_params, files) if kind is not None else ""


def loading(kind: Kind, settings: Mapping[str, Any], files: Iterable[str]) -> str:
    """Lines of Python that load an artifact and run it: the kind's own, about these files and settings. ``directory``
    is where the files are."""

    def value(found: re.Match[str]) -> str:
        said = str(settings.get(found[1], found[0]))
        return found[3] if said == found[2] else said

    pattern = kind.files[0]
    first = next((name for name in files if fnmatchcase(name, pattern)), pattern)
    return _SETTING.sub(value, kind.loading.strip().replace(pattern, first))
