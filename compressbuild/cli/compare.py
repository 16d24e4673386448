"""``cbuild compare A B``: is B better than A, and is it faster?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ..compressfile.spec import Spec
from ..errors import UsageError
from ..evaluate.answers import Flip, flips
from ..evaluate.compare import (
    Comparison,
    Quality,
    compare_quality,
    compare_speed,
    direct_speed,
    hits,
    judged_row,
    row,
    timed_row,
)
from ..evaluate.evidence import Evidence
from ..evaluate.logs import compare_logs
from ..evaluate.results import FILE, Results
from ..evaluate.roles import Roles, apart
from ..graph import Ask
from ..plan import Plan
from ..project import Project
from ..report.data.breakdowns import breakdowns
from ..report.text.comparison import comparison_lines
from ..words import suggest
from . import completion
from .options import opened, project_options, written

__all__ = ["command"]

_EXACTLY = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}


@click.command("compare", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("first", required=False, metavar="A", shell_complete=completion.target)
@click.argument("second", required=False, metavar="B", shell_complete=completion.target)
@project_options
@click.option("--from-logs", nargs=2, metavar="A.JSONL B.JSONL", help="Compare two logs of the same requests.")
@click.option("--measure", is_flag=True, help="Build both, and measure B alternately with A.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True,
    help="Lines, one JSON object, or one HTML file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completion.files,
    help="Write there ('-': standard output). HTML: compare.html.",
)
def command(
    first: str | None,
    second: str | None,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    from_logs: tuple[str, str] | None,
    measure: bool,
    form: str,
    as_json: bool,
    output: str | None,
) -> int:
    """Compare two targets on the same samples, or with --from-logs two logs of one service: quality (McNemar's test,
    bootstrap), speed, every metric, and the samples whose answer flipped."""
    tables: list[dict[str, Any]] = []
    if from_logs is not None:
        if first is not None:
            raise UsageError("--from-logs compares two files; targets cannot be named as well")
        found = compare_logs(Path(from_logs[0]), Path(from_logs[1]))
    else:
        if first is None or second is None:
            raise UsageError("name two targets: cbuild compare A B", hint="or two logs: --from-logs a.jsonl b.jsonl")
        with opened(file, overrides, cache_dir) as project:
            _check_names(project.spec, first, second)
            speed = _speed(project, first, second)
            if speed is not None:
                project.ask(Ask(project.registry.metrics[speed], second, beside=first))
            if measure:
                _measure(project, first, second, speed)
            found, results = _compare(project, first, second, speed)
            tables = list(breakdowns(results[second], results[first]))
    form = "json" if as_json else form
    if form == "html":
        from ..report.page.pages import comparison_page

        text = comparison_page(found, tables)
    elif form == "json":
        text = msgspec.json.encode({"verdict": found.verdict, **msgspec.to_builtins(found)}).decode() + "\n"
    else:
        text = "".join(f"{line}\n" for line in comparison_lines(found))
    written(text, output or ("compare.html" if form == "html" else "-"), aside=form != "html")
    return 0


def _check_names(spec: Spec, first: str, second: str) -> None:
    for name in (first, second):
        if name not in spec.targets:
            hint = suggest(name, spec.targets, otherwise="see 'cbuild list'")
            raise UsageError(f"unknown target '{name}'", hint=hint)
    if first == second:
        raise UsageError(f"'{first}' cannot be compared with itself")


def _speed(project: Project, first: str, second: str) -> str | None:
    """The metric that says how fast both are: of those they measure, or else of those installed."""
    spec, roles = project.spec, Roles.of(project.registry.metrics)
    used = [spec.targets[name].evaluate or spec.evaluate for name in (first, second)]
    named = {use.name for evaluate in used if evaluate is not None for use in evaluate.metrics}
    named |= {gate.metric for name in (first, second) for gate in spec.targets[name].gates}
    return roles.speed_of(named) or roles.speed_of(roles.speed)


def _measure(project: Project, first: str, second: str, speed: str | None) -> None:
    """Run what the comparison needs. Nothing is published."""
    from ..build.run import measure_targets

    if speed is None:
        raise UsageError("no installed plugin offers a metric that is measured alternately with another target's")
    failed = [report for report in measure_targets(project, (first, second)).targets if report.status == "failed"]
    if failed:
        raise UsageError(f"{failed[0].name} cannot be measured: {failed[0].reason}", hint=f"cbuild {failed[0].name}")


def _compare(
    project: Project, first: str, second: str, speed: str | None
) -> tuple[Comparison, dict[str, Mapping[str, Any]]]:
    """What is known of both, and every result of each."""
    plan = project.plan((first, second))
    made = Results.of_plan(project.store, plan)
    results: dict[str, Mapping[str, Any]] = {name: _results(project, made, name) for name in (first, second)}
    missing: dict[str, str] = {}
    for name, measured in results.items():
        if not measured:
            said = Evidence.read(project.publisher.path(name))
            results[name] = said.metrics if said is not None else {}
            if not results[name]:
                raise UsageError(f"'{name}' has not been built and measured", hint=f"cbuild {name}")
            missing[f"{name} as it is now"] = f"the values are those it was published with ('cbuild why {name}')"
    a, b = results[first], results[second]
    quality = _quality(a, b, missing)
    timed = None
    if speed is not None:
        timed = _direct(project, made, second, speed) or _through_baseline(project, first, second, a, b, speed)
        if timed is None:
            missing[speed] = "never measured side by side; '--measure' does"
    sizes = [_size(project, made, name) for name in (first, second)]
    metrics = project.graph.metrics
    rows = []
    for name in (n for n in Roles.of(metrics).in_order((*a, *b)) if n in metrics):
        plain = row(name, metrics[name].unit, metrics[name].direction, a.get(name), b.get(name))
        rows.append(timed_row(plain, timed) if apart(metrics[name]) else judged_row(plain, quality))
    flipped = _flipped(project, plan, first, second, quality) if quality is not None else ()
    found = Comparison(
        first=first, second=second, quality=quality, speed=timed, rows=tuple(rows), flipped=flipped, missing=missing,
        sizes=(sizes[0], sizes[1]) if sizes[0] is not None and sizes[1] is not None else None,
    )  # fmt: skip
    return found, results


def _flipped(project: Project, plan: Plan, first: str, second: str, quality: Quality) -> tuple[Flip, ...]:
    """What both answered, if the predictions are still in the cache."""
    graph, made, output = project.graph, [], None
    for name in (first, second):
        metric = next((m for m in graph.targets[name].metrics if m.name == quality.metric), None)
        if metric is None or metric.node is None or metric.node not in plan.actions:
            return ()
        node = graph.nodes[metric.node]
        action, output = plan.actions[node.inputs["subject"]], node.params.get("output")
        if action.result is None or action.evicted:
            return ()
        made.append(action.result.output)
    return flips(project.store, made[0], made[1], (*quality.lost, *quality.won), quality.n, output)


def _results(project: Project, made: Results, name: str) -> dict[str, Mapping[str, Any]]:
    """What has been measured of a target as it is now declared."""
    found = {metric.name: made.metric(metric) for metric in project.graph.targets[name].metrics}
    return {name: result for name, result in found.items() if result is not None}


def _quality(a: Mapping[str, Any], b: Mapping[str, Any], missing: dict[str, str]) -> Quality | None:
    for name in a:
        if name in b and "hits" in a[name] and "hits" in b[name]:
            if a[name].get("labels") != b[name].get("labels"):
                missing["quality"] = f"the two were not measured on the same samples ({name})"
                return None
            try:
                return compare_quality(name, hits(a[name]) or [], hits(b[name]) or [])
            except ValueError as error:
                missing["quality"] = f"{name}: {error}"
                return None
    missing["quality"] = "no metric of both says which samples it gets right"
    return None


def _size(project: Project, made: Results, name: str) -> int | None:
    """Bytes of a target's artifact: as it is now declared, or else as published."""
    size = made.size(project.graph.targets[name].artifact)
    return size if size is not None else project.publisher.size(name, (FILE,))


def _direct(project: Project, made: Results, second: str, speed: str) -> Any:
    found = [made.metric(asked) for asked in project.graph.targets[second].asked]
    return next((direct_speed(speed, result) for result in found if result is not None), None)


def _through_baseline(
    project: Project, first: str, second: str, a: Mapping[str, Any], b: Mapping[str, Any], speed: str
) -> Any:
    """Where both were measured beside one baseline, which may be the first itself."""
    targets = project.graph.targets
    own = {first: a.get(speed), second: b.get(speed)}
    bases = {name: targets[name].baseline or name for name in own}
    if None in own.values() or len(set(bases.values())) != 1:
        return None
    base = bases[first]
    found = [{**(own[name] or {}), **(_EXACTLY if name == base else {})} for name in (first, second)]
    return compare_speed(speed, found[0], found[1], base)
