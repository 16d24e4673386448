"""``cbuild profile TARGET``: where the time of a run goes, operator by operator."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from ..api import Profile, Profiling, RunMetric
from ..compressfile.nodes import Map, located
from ..digest import promptly
from ..errors import CbuildError, Incompatible, NodeFailed, UsageError
from ..evaluate.results import Results
from ..evaluate.roles import Roles
from ..graph import Ask
from ..project import Project
from ..report.page.profile import profile_page
from ..report.text.profile import lines
from ..words import suggest
from . import completion
from .options import opened, project_options

__all__ = ["command"]

_NAME = "profile"  # of the measurement, and so of its log


@click.command("profile", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", shell_complete=completion.target)
@project_options
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples in a run (default: the batch of its latency, or 1).",
)
@click.option("--repeats", type=click.IntRange(min=1), default=50, show_default=True, help="Number of runs to count.")
@click.option(
    "-n", "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Rows in each table of the text."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=completion.files, help="Write there instead of to standard output."
)
def command(
    target: str,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    batch: int | None,
    repeats: int,
    rows: int,
    form: str,
    output: str | None,
) -> int:
    """Run a target under its runtime's profiler: the time of each operator. Builds the target first, if need be, and
    publishes nothing; nothing else runs meanwhile."""
    with opened(file, overrides, cache_dir) as project:
        found = _profile(project, target, batch, repeats)
    if form == "json":
        text = msgspec.json.encode({"target": target, **msgspec.to_builtins(found)}).decode() + "\n"
    elif form == "html":
        text = profile_page(target, found)
    else:
        text = "".join(f"{line}\n" for line in lines(target, found, rows))
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        with open(output, "w", encoding="utf-8", opener=promptly) as there:
            there.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
    return 0


def _profile(project: Project, name: str, batch: int | None, repeats: int) -> Profile:
    """Measured again on each call, as a metric of its own."""
    from ..build.run import build_targets
    from ..report.text.progress import PlainProgress

    if name not in project.spec.targets:
        hint = suggest(name, project.spec.targets, otherwise="see 'cbuild list'")
        raise UsageError(f"unknown target '{name}'", hint=hint)
    asked: dict[str, Any] = {**_as_timed(project, name), "repeats": repeats}
    if batch is not None:
        asked["batch"] = batch
    params = located(asked, project.spec.targets[name].mark)
    assert isinstance(params, Map)
    project.ask(Ask(_record(project, name), name, params=params, alone=True))
    selection = project.select((name,))
    (plan,) = project.graph.targets[name].asked
    if plan.node is None:
        raise Incompatible(f"'{name}' cannot be profiled here: {plan.reason.rpartition('measured here: ')[2]}")
    observers = [PlainProgress(sys.stderr)]
    report = build_targets(project, selection=selection, observers=observers, remeasure=True, publish=False)
    (outcome,) = report.targets
    if outcome.status != "checked":
        raise NodeFailed(f"'{name}' could not be profiled: {outcome.reason}")
    try:
        return msgspec.convert(Results.of_plan(project.store, project.plan((name,))).metric(plan), Profile)
    except msgspec.ValidationError as error:
        raise CbuildError(f"the profiler of '{name}' did not return a profile: {error}") from error


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
        owner, function = f"the reference runtime of {node.kind}", registry.kinds[node.kind].profile
    if function is None:
        able = sorted(backend.name for backend in registry.backends.values() if backend.profile is not None)
        hint = f"backends that have one: {', '.join(able)}" if able else None
        raise UsageError(f"'{name}' cannot be profiled: {owner} has no profiler", hint=hint)
    return RunMetric(
        name=_NAME, run=function, params=Profiling, summary="time of each operator",
    )  # fmt: skip
