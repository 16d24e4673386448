"""Where hardware comes in: compile nodes, and how a compiled artifact is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..compressfile.nodes import plain
from ..compressfile.spec import TargetSpec
from ..errors import Diagnostic
from ..platforms import Missing, check_requires, requires_met
from .catalogue import platform_of
from .node import Node, RunWith
from .params import Resolved, resolve, type_name

if TYPE_CHECKING:
    from .builder import Builder

__all__ = ["compiled", "counted_with", "run_with", "settings_of"]


def settings_of(builder: Builder, platform: str) -> Resolved | None:
    """The typed settings of a declared platform; problems are reported once."""
    if platform not in builder.settings:
        declared = platform_of(builder, platform)
        backend = builder.registry.backends.get(declared.backend) if declared is not None else None
        if declared is None:
            builder.settings[platform] = None
        elif backend is None:
            builder.unknown("backend", declared.backend, declared.marks.get("backend", declared.mark))
            builder.settings[platform] = None
        else:
            found = resolve(
                backend.settings,
                declared.settings,
                owner=f"backend '{backend.name}'",
                mark=declared.mark,
                backend=backend,
                problems=builder.problems,
            )
            if found is not None and not builder.datasets_known(found, declared.mark):
                found = None
            builder.settings[platform] = found
    return builder.settings[platform]


def compiled(builder: Builder, target: TargetSpec, model: int) -> int | None:
    assert target.platform is not None
    settings = settings_of(builder, target.platform)
    backend = builder.backend(target.platform)
    mark = target.marks.get("platform", target.mark)
    if (
        settings is None
        or backend is None
        or not builder.accepts(backend.consumes, model, f"backend '{backend.name}'", mark)
    ):
        return None
    declared = platform_of(builder, target.platform)
    assert declared is not None  # it has settings
    missing = builder.missing(backend.stack.needs, backend.compile_needs, settings.needs)
    if declared.requires is not None:
        requires = plain(declared.requires)
        wrong = check_requires(requires)
        for fact, (message, hint) in wrong.items():
            builder.problems.append(Diagnostic(message, declared.requires.key_mark(fact), hint))
        missing += tuple(Missing(reason) for reason in requires_met(requires, builder.facts)) if not wrong else ()
    inputs = {"subject": model}
    return builder.intern(
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
            models=builder.carried(inputs),
            datasets=settings.named("dataset"),
            files=settings.named("file"),
            tools=backend.stack.tools,
            facts=backend.compile_facts,
            preload=backend.stack.preload,
            options=builder.options(target.options),
            nondeterministic=backend.nondeterministic,
            missing=missing,
        )
    )


def run_with(builder: Builder, index: int) -> RunWith | None:
    """How the output of a node is run: by its backend if it was compiled, else by its kind; None: it cannot be."""
    if index not in builder.runs:
        builder.runs[index] = _run_with(builder, builder.nodes[index])
    return builder.runs[index]


def _run_with(builder: Builder, node: Node) -> RunWith | None:
    if node.role == "compile":
        backend = builder.registry.backends[node.name]
        return RunWith(
            backend.load,
            f"backend {backend.name}",
            backend.version,
            node.params,
            type_name(backend.settings),
            backend.stack.tools,
            backend.run_facts,
            backend.stack.preload,
            builder.missing(
                backend.stack.needs, backend.run_needs, msgspec.convert(node.params, backend.settings).run_needs()
            ),
        )
    kind = builder.kind(node.kind)
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
        builder.missing(kind.stack.needs, kind.needs),
    )


def counted_with(builder: Builder, index: int) -> RunWith | None:
    """How the output of a node is counted: by the census of its kind; None: the kind has none."""
    kind = builder.kind(builder.nodes[index].kind)
    if kind.census is None:
        return None
    return RunWith(
        kind.census,
        f"kind {kind.name}",
        kind.version,
        tools=kind.stack.tools,
        preload=kind.stack.preload,
        missing=builder.missing(kind.stack.needs, kind.needs),
        is_census=True,
    )
