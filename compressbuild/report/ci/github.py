"""A build on GitHub Actions: annotations at the Compressfile's lines, and the summary of the job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ...build.outcome import BuildReport, TargetReport
from ...compressfile.spec import TargetSpec
from ...errors import Diagnostic, Mark
from ...graph import Graph
from ...words import duration
from ..text.table import gates_cell, metric_cell
from ..text.verdicts import gate_words, said
from .ended import Ended

__all__ = ["SUMMARY", "annotated", "errors", "job_summary", "running"]


SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file of the job's summary."""


def running(environ: Mapping[str, str]) -> bool:
    return environ.get("GITHUB_ACTIONS") == "true"


def errors(found: Iterable[Diagnostic], environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each complaint about a Compressfile or a command line."""
    for each in found:
        hint = f"\nhint: {each.hint}" if each.hint else ""
        yield _command("error", each.message + hint, each.mark, environ)


def annotated(report: BuildReport, ended: Ended, graph: Graph, environ: Mapping[str, str]) -> Iterator[str]:
    """Failed nodes at their steps, missed gates at their limits, warnings at their targets."""
    told: set[int] = set()
    for target in report.targets:
        spec = graph.targets[target.name].spec
        if target.status == "failed":
            for node, event in ended.failed(graph, target.name):
                if node.index not in told:
                    told.add(node.index)
                    hint = f"\nhint: {event.hint}" if event.hint else ""
                    yield _command("error", f"{node.position} {event.cause}: {event.error}{hint}", node.mark, environ)
        for verdict in (v for v in target.verdicts if not v.ok):
            mark = next((gate.mark for gate in spec.gates if gate.metric == verdict.metric), spec.mark)
            yield _command("error", f"{target.name}: {_missed(target, verdict.metric, verdict.limit)}", mark, environ)
    for target in report.targets:
        for concern in target.warnings:
            mark = graph.targets[target.name].spec.mark
            yield _command("warning", f"{target.name}: {concern.message}", mark, environ)


def _missed(target: TargetReport, metric: str, limit: str) -> str:
    found = next(v for v in target.verdicts if (v.metric, v.limit) == (metric, limit))
    why = f" ({found.reason})" if found.reason else ""
    return f"{gate_words(metric, limit, found.bound, found.against)}: {found.verdict}, got {said(found)[0]}{why}"


def job_summary(report: BuildReport, ended: Ended, graph: Graph, name: str) -> str:
    """Markdown: a row for each target, then what failed, was missed, skipped or is worth knowing."""
    rows = [target for target in report.targets if target.status not in ("skipped", "not built")]
    names = report.roles.in_order(metric for target in rows for metric in (*target.metrics, *target.unmeasured))
    seconds = ended.seconds(graph, report)
    lines = [f"### cbuild: {_text(name)}", ""]
    lines.append(f"| target | platform | {''.join(f'{_text(metric)} | ' for metric in names)}gates | time | state |")
    lines.append(f"|---|---|{'---:|' * len(names)}---|---:|---|")
    for target in rows:
        cells = [_text(metric_cell(target, metric, report.units)) for metric in names]
        mark = {"failed": "❌ ", "gate failed": "❌ ", "published": "✅ "}.get(target.status, "")
        row = [_text(target.name), _text(target.platform or "–"), *cells, _text(gates_cell(target))]
        lines.append(f"| {' | '.join([*row, duration(seconds[target.name]), mark + target.status])} |")
    lines.append("")
    for target in rows:
        spec: TargetSpec = graph.targets[target.name].spec
        lines += [f"- ❌ **{_text(spec.name)}**: {_text(_missed(target, v.metric, v.limit))}"
                  for v in target.verdicts if not v.ok]  # fmt: skip
        for node, event in ended.failed(graph, target.name) if target.status == "failed" else ():
            lines.append(f"- ❌ **{_text(spec.name)}**: {_text(f'{node.position} {event.cause}: {event.error}')}")
        lines += [f"- ⚠️ **{_text(spec.name)}**: {_text(concern.message)}" for concern in target.warnings]
    for target in report.targets:
        if target.status in ("skipped", "not built"):
            lines.append(f"- {target.status} **{_text(target.name)}**: {_text(target.reason)}")
    return "\n".join(lines) + "\n\n"


def _command(kind: str, message: str, mark: Mark | None, environ: Mapping[str, str]) -> str:
    """A workflow command. A place in what is no file of the checkout (``--set``) is named in the message."""
    place = ""
    if mark is not None:
        file = Path(os.path.abspath(mark.file))
        workspace = Path(os.path.abspath(environ.get("GITHUB_WORKSPACE") or os.curdir))
        if file.is_file() and file.is_relative_to(workspace):
            path = _property(file.relative_to(workspace).as_posix())
            end = mark.column + mark.length
            place = f" file={path},line={mark.line},col={mark.column},endColumn={end}"
        else:
            message = f"{mark}: {message}"
    return f"::{kind}{place}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _text(text: str) -> str:
    """Text that Markdown leaves as it is, on one line, in one cell."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|~" else char for char in flat)
