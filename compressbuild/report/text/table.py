"""The end of a build: a table of targets, and what was skipped, failed or missed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...build.outcome import BuildReport, TargetReport
from ...evaluate.roles import Roles
from ...words import number
from .columns import framed, ruled
from .verdicts import missed_table

__all__ = ["gates_cell", "metric_cell", "summary", "target_table", "with_ratio"]

_MANY = 100


def with_ratio(found: Mapping[str, Any], unit: str) -> str:
    """A metric's value, and its ratio to the baseline's: ``0.6227 ms  ×0.59 [0.58–0.61]``."""
    text = number(float(found["value"]), unit)
    if "ratio" in found:
        low, high = found.get("ratio_low"), found.get("ratio_high")
        spread = f" [{low:.2f}–{high:.2f}]" if low is not None and high is not None else ""
        text += f"  ×{found['ratio']:.2f}{spread}"
    return text


def metric_cell(report: TargetReport, metric: str, units: Mapping[str, str]) -> str:
    found = report.metrics.get(metric)
    return "–" if found is None else with_ratio(found, units.get(metric, ""))


def gates_cell(report: TargetReport) -> str:
    if not report.verdicts:
        return "–"
    passed = sum(v.verdict == "pass" for v in report.verdicts)
    return f"{passed} ok" if passed == len(report.verdicts) else f"{passed} of {len(report.verdicts)} ok"


def target_table(report: BuildReport, terminal: bool) -> str:
    """A row for each target that was built: every metric, with the ratio to its baseline, and the gates' verdicts. Of
    many targets, a row for each that changed."""
    rows = [r for r in report.targets if r.status not in ("skipped", "not built")]
    if len(rows) > _MANY:
        rows = [r for r in rows if r.status != "up to date"]
    names = report.roles.in_order(name for r in rows for name in (*r.metrics, *r.unmeasured))
    units = report.units
    head = ("target", "platform", *names, "gates", "state")
    cells = [
        (r.name, r.platform or "–", *(metric_cell(r, n, units) for n in names), gates_cell(r), r.status) for r in rows
    ]
    numbers = range(2, 2 + len(names))
    red = {at for at, r in enumerate(rows, 1) if "failed" in r.status and not os.environ.get("NO_COLOR")}
    lines = ruled([head, *cells], numbers, red) if terminal else framed([head, *cells], numbers)
    return "\n".join([*lines, *_legend(rows, report.roles)])


def _legend(rows: Sequence[TargetReport], roles: Roles) -> list[str]:
    """What a ratio is of, and how speed was measured."""
    baselines = dict.fromkeys(r.baseline for r in rows if r.baseline and any("ratio" in m for m in r.metrics.values()))
    speed = roles.speed_of(name for r in rows for name in r.metrics)
    batches = dict.fromkeys(r.metrics[speed].get("batch") for r in rows if speed is not None and speed in r.metrics)
    noisy = [r.name for r in rows if any(m.get("noisy") for m in r.metrics.values())]
    lines = [f"×: ratio to {', '.join(baselines)}, with its 95 % interval"] if baselines else []
    if any(batches):
        sizes = ", ".join(str(batch) for batch in batches if batch)
        lines.append(f"{speed}: median at batch {sizes}; only ratios carry over to other machines")
    if noisy:
        lines.append(
            f"the machine was busy while these were measured: {', '.join(noisy)} ('--remeasure' measures again)"
        )
    return lines


def summary(report: BuildReport, *, again: bool = False) -> str:
    """What was skipped, not measured or failed, and why; then the counts. ``again``: as a no-op would say it."""
    lines = []
    for r in report.targets:
        if r.status == "skipped":
            lines.append(f"skipped {r.name}: {r.reason}")
        elif r.status in ("failed", "gate failed"):
            lines.append(f"{r.name}: {r.status}: {r.reason}")
        lines += [f"warning: {r.name}: {concern.message}" for concern in r.warnings]
    if report.install:
        lines.append(f"to build what was skipped: {report.install}")
    lines += missed_table(report.targets)
    if unbuilt := [r.name for r in report.targets if r.status == "not built"]:
        lines.append(f"not built: {', '.join(unbuilt)}: the build stopped at a failure ('-k' goes on with the rest)")
    if not again:
        for reason in dict.fromkeys(text for r in report.targets for text in r.unmeasured.values()):
            names = [_unmeasured(r, reason) for r in report.targets if reason in r.unmeasured.values()]
            lines.append(f"not measured: {', '.join(names)}: {reason}")
    ran, cached = (
        (0, sum(report.counts.values())) if again else (report.counts.get("built", 0), report.counts.get("cached", 0))
    )
    built = [r for r in report.targets if r.status not in ("skipped", "failed", "gate failed", "not built")]
    failed = report.counts.get("failed", 0)
    counts = [(ran, "run"), (failed, "failed"), (cached, "cached")]
    work = ", ".join(f"{count} {what}" for count, what in counts if count or what == "cached")
    if not ran and not failed:
        work = f"nothing to do, {cached} nodes cached"
    lines.append(f"{len(built)} of {len(report.targets)} targets up to date ({work})")
    return "\n".join(lines) + "\n"


def _unmeasured(report: TargetReport, reason: str) -> str:
    return f"{report.name} ({', '.join(metric for metric, why in report.unmeasured.items() if why == reason)})"
