"""``cbuild profile TARGET``: where the time of a run goes, operator by operator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from ..api import Metric, Profile, Profiling
from ..compressfile.nodes import Map, located
from ..compressfile.spec import EvaluateSpec, MetricUse
from ..errors import CbuildError, Incompatible, NodeFailed, UsageError
from ..project import Project
from ..report.profile import html, lines
from ..suggest import did_you_mean
from .options import opened, project_options

__all__ = ["command"]

_NAME = "profile"  # of the measurement, and so of its log


@click.command("profile", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target")
@project_options
@click.option(
    "--batch", type=click.IntRange(min=1), metavar="N", help="Samples a run (default: as the target's latency)."
)
@click.option("--repeats", type=click.IntRange(min=1), default=50, show_default=True, help="Runs that are counted.")
@click.option("-n", "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Operators in the text.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True, help="As what."
)
@click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output.")
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
        text = html(target, found)
    else:
        text = "".join(f"{line}\n" for line in lines(target, found, rows))
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
    return 0


def _profile(project: Project, name: str, batch: int | None, repeats: int) -> Profile:
    """Measured anew each time, as a metric of its own."""
    from ..build import build_targets
    from ..report.progress import PlainProgress

    if name not in project.spec.targets:
        guess = did_you_mean(name, project.spec.targets)
        raise UsageError(f"unknown target '{name}'", hint=f"did you mean '{guess}'?" if guess else "see 'cbuild list'")
    asked: dict[str, Any] = {**_as_latency(project, name), "repeats": repeats}
    if batch is not None:
        asked["batch"] = batch
    _plan(project, name, asked)
    selection = project.select((name,))
    for metric in project.graph.targets[name].metrics:
        if metric.node is None:
            raise Incompatible(f"'{name}' cannot be profiled here: {metric.reason.rpartition('measured here: ')[2]}")
    observers = [PlainProgress(sys.stderr)]
    report = build_targets(project, selection=selection, observers=observers, remeasure=True, publish=False)
    (outcome,) = report.targets
    if _NAME not in outcome.metrics:
        raise NodeFailed(f"'{name}' could not be profiled: {outcome.reason}")
    try:
        return msgspec.convert(outcome.metrics[_NAME], Profile)
    except msgspec.ValidationError as error:
        raise CbuildError(f"the profiler of '{name}' returned something else than a profile: {error}") from error


def _as_latency(project: Project, name: str) -> dict[str, Any]:
    """The batch and the sizes at which the target's latency is measured."""
    for metric in project.graph.targets[name].metrics:
        if metric.name == "latency" and metric.node is not None:
            params = project.graph.nodes[metric.node].params
            return {key: params[key] for key in ("batch", "axes") if key in params}
    return {}


def _plan(project: Project, name: str, asked: dict[str, Any]) -> None:
    """Make the profile the only thing that is asked of the target. Raises if its runtime has no profiler."""
    graph, registry, target = project.graph, project.registry, project.spec.targets[name]
    node = graph.nodes[graph.targets[name].artifact]
    if node.role == "compile":
        owner, function = f"backend '{node.name}'", registry.backends[node.name].profile
    else:
        owner, function = f"the reference runtime of {node.kind}", registry.kinds[node.kind].profile
    if function is None:
        able = sorted(backend.name for backend in registry.backends.values() if backend.profile is not None)
        hint = f"backends that have one: {', '.join(able)}" if able else None
        raise UsageError(f"'{name}' cannot be profiled: {owner} has no profiler", hint=hint)
    record = Metric(
        name=_NAME, run=function, params=Profiling, of="runner", direction="none", exclusive=True,
        summary="time of each operator",
    )  # fmt: skip
    params = located(asked, target.mark)
    assert isinstance(params, Map)
    use = MetricUse(_NAME, target.mark, params)
    evaluate = EvaluateSpec(target.mark, metrics=(use,))
    changed = replace(target, gates=(), evaluate=evaluate)
    project.spec = replace(project.spec, targets={**project.spec.targets, name: changed})
    project.__dict__["registry"] = replace(registry, metrics={**registry.metrics, _NAME: record})
    for made in ("graph", "keyer"):
        project.__dict__.pop(made, None)
