"""Where hardware comes in: compile nodes, and how a compiled artifact is run."""

from __future__ import annotations

from ..compressfile.nodes import plain
from ..compressfile.spec import TargetSpec
from ..errors import Diagnostic
from ..platforms import Missing, check_requires, requires_met
from .draft import Draft, environment_of
from .node import Node, RunWith
from .params import Resolved, resolve
from .platforms import automatic, backend_of, platform_of
from .typed import run_needs, type_name

__all__ = ["compiled", "counted_with", "run_with", "settings_of"]


def settings_of(draft: Draft, platform: str) -> Resolved | None:
    """The typed settings of a declared platform; problems are reported once."""
    if platform not in draft.settings:
        declared = platform_of(draft, platform)
        backend = draft.registry.backends.get(declared.backend) if declared is not None else None
        if declared is None:
            draft.settings[platform] = None
        elif backend is None:
            draft.unknown("backend", declared.backend, declared.marks.get("backend", declared.mark))
            draft.settings[platform] = None
        else:
            found = resolve(
                backend.settings,
                declared.settings,
                owner=f"backend '{backend.name}'",
                mark=declared.mark,
                settle=automatic(draft, platform),
                problems=draft.problems,
                types=draft.types,
            )
            if found is not None and not draft.datasets_known(found, declared.mark):
                found = None
            draft.settings[platform] = found
    return draft.settings[platform]


def compiled(draft: Draft, target: TargetSpec, model: int) -> int | None:
    assert target.platform is not None
    settings = settings_of(draft, target.platform)
    backend = backend_of(draft, target.platform)
    mark = target.marks.get("platform", target.mark)
    if (
        settings is None
        or backend is None
        or not draft.accepts(backend.consumes, model, f"backend '{backend.name}'", mark)
    ):
        return None
    declared = platform_of(draft, target.platform)
    assert declared is not None  # it has settings
    host = draft.host_of(declared)
    missing = draft.missing(backend.stack.needs, backend.compile_needs, settings.needs, host=host)
    if declared.requires is not None:
        requires = plain(declared.requires)
        wrong = check_requires(requires)
        for fact, (message, hint) in wrong.items():
            draft.problems.append(Diagnostic(message, declared.requires.key_mark(fact), hint))
        missing += (
            tuple(Missing(reason) for reason in requires_met(requires, draft.facts_at(host))) if not wrong else ()
        )
    inputs = {"subject": model}
    return draft.intern(
        Node(
            0,
            f"{target.name}/{backend.name}",
            "compile",
            backend.name,
            backend.version,
            backend.compile,
            backend.produces,
            mark,
            params=settings.values,
            params_type=type_name(backend.settings),
            key_params=settings.key(),
            inputs=inputs,
            models=draft.carried(inputs),
            datasets=settings.named("dataset"),
            files=settings.named("file"),
            tools=backend.stack.tools,
            facts=backend.compile_facts,
            preload=backend.stack.preload,
            options=draft.options(target.options),
            nondeterministic=backend.nondeterministic,
            missing=missing,
            host=host,
            environment=environment_of(backend.stack),
        )
    )


def run_with(draft: Draft, index: int) -> RunWith | None:
    """How the output of a node is run: by its backend if it was compiled, else by its kind; None: it cannot be."""
    if index not in draft.runs:
        draft.runs[index] = _run_with(draft, draft.nodes[index])
    return draft.runs[index]


def _run_with(draft: Draft, node: Node) -> RunWith | None:
    if node.role == "compile":
        backend = draft.registry.backends[node.name]
        return RunWith(
            backend.load,
            f"backend {backend.name}",
            backend.version,
            node.params,
            type_name(backend.settings),
            backend.stack.tools,
            backend.run_facts,
            backend.stack.preload,
            draft.missing(
                backend.stack.needs, backend.run_needs, run_needs(backend.settings, node.params), host=node.host
            ),
            host=node.host,
            environment=environment_of(backend.stack),
        )
    kind = draft.kind(node.kind)
    if kind.load is None:
        return None
    return RunWith(
        kind.load,
        f"kind {kind.name}",
        kind.version,
        None,
        None,
        kind.stack.tools,
        ("cpu.model", "cpu.isa"),
        kind.stack.preload,
        draft.missing(kind.stack.needs, kind.needs),
        environment=environment_of(kind.stack),
    )


def counted_with(draft: Draft, index: int) -> RunWith | None:
    """How the output of a node is counted: by the census of its kind; None: the kind has none."""
    kind = draft.kind(draft.nodes[index].kind)
    if kind.census is None:
        return None
    return RunWith(
        kind.census,
        f"kind {kind.name}",
        kind.version,
        tools=kind.stack.tools,
        preload=kind.stack.preload,
        missing=draft.missing(kind.stack.needs, kind.needs),
        environment=environment_of(kind.stack),
        is_census=True,
    )
