"""What the calls return: data with a text form, and an HTML form that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import msgspec

from ..build.outcome import BuildReport, TargetReport
from ..evaluate.compare import Comparison
from ..plan import Action, Plan, say
from ..project import Project, Selection
from ..report.text.comparison import comparison_lines
from ..report.text.plan import plan_lines
from ..report.text.table import gates_cell, metric_cell, summary, target_table
from ..words import number, suggest
from .html import scatter, table

__all__ = ["Compared", "Planned", "Reasons", "Report", "Step", "Target", "Targets"]


class Report:
    """What a build came to. ``report["cpu-int8"]`` is a target's; ``ok``: nothing failed and every gate was met."""

    def __init__(self, build: BuildReport, root: Path) -> None:
        self.build = build
        self.root = root

    @property
    def targets(self) -> tuple[TargetReport, ...]:
        return self.build.targets

    @property
    def ok(self) -> bool:
        return self.build.exit_code == 0

    @property
    def exit_code(self) -> int:
        """As of the command: 0, 1 for a failed node, 3 for a missed gate."""
        return self.build.exit_code

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Target → metric → value; ``pandas.DataFrame(report.metrics).T`` is a table of it."""
        return {
            target.name: {name: float(found["value"]) for name, found in target.metrics.items()}
            for target in self.targets
        }

    def __getitem__(self, name: str) -> TargetReport:
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(f"no target '{name}' was built" + _hint(name, [target.name for target in self.targets]))

    def __iter__(self) -> Iterator[TargetReport]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def path(self, name: str) -> Path:
        """Where a target is published. KeyError for one that is not."""
        directory = self[name].directory
        if directory is None:
            raise KeyError(f"'{name}' is not published: {self[name].status}")
        return self.root / directory

    def __repr__(self) -> str:
        return target_table(self.build, False) + "\n" + summary(self.build)

    def _repr_html_(self) -> str:
        shown = [target for target in self.targets if target.status not in ("skipped", "not built")]
        names = self.build.roles.in_order(name for target in shown for name in target.metrics)
        rows = [
            (
                target.name,
                target.platform or "–",
                *(metric_cell(target, name, self.build.units) for name in names),
                gates_cell(target),
                target.status,
            )
            for target in shown
        ]
        text = escape(summary(self.build))
        return f"{table(('target', 'platform', *names, 'gates', 'state'), rows)}{self._plot(names)}<pre>{text}</pre>"

    def _plot(self, names: Sequence[str]) -> str:
        """Quality against speed, or else against another metric: of speed the ratio to the baseline, as times do not
        carry over."""
        roles = self.build.roles
        speed, quality = roles.speed_of(names), roles.quality_of(names)
        up = quality or next((name for name in names if name != speed), None)
        across = speed or next((name for name in names if name != up), None)
        if up is None or across is None:
            return ""
        points = []
        for target in self.targets:
            x, y = target.metrics.get(across), target.metrics.get(up)
            if x is not None and y is not None:
                points.append((target.name, float(x.get("ratio", 1.0) if across == speed else x["value"]), y["value"]))
        return scatter(points, f"{across}, ratio to the baseline" if across == speed else across, up)


class Target(msgspec.Struct, frozen=True):
    """A target as it is declared. ``missing``: what this machine lacks to build it."""

    name: str
    source: str
    steps: tuple[str, ...]
    platform: str | None
    description: str
    tags: tuple[str, ...]
    published: bool
    missing: tuple[str, ...]


class Targets(Mapping[str, Target]):
    """The targets of a Compressfile, by name. ``groups``: name → targets."""

    def __init__(self, targets: dict[str, Target], groups: Mapping[str, tuple[str, ...]]) -> None:
        self._targets = targets
        self.groups = groups

    @classmethod
    def of(cls, project: Project) -> Targets:
        found = {}
        for name, spec in project.spec.targets.items():
            missing = tuple(dict.fromkeys(each.what for each in project.graph.targets[name].missing))
            steps = tuple(step.technique for step in spec.steps)
            published = (project.published / name).is_dir()
            found[name] = Target(
                name, spec.source, steps, spec.platform, spec.description, spec.tags, published, missing
            )
        return cls(found, dict(project.spec.groups))

    def __getitem__(self, name: str) -> Target:
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (t.name, " → ".join((t.source, *t.steps)), t.platform or "–", "yes" if t.published else "no",
             ", ".join(t.tags), t.description, "; ".join(t.missing))
            for t in self._targets.values()
        ]  # fmt: skip

    def __repr__(self) -> str:
        return "\n".join("  ".join(cell for cell in row if cell) for row in self._rows())

    def _repr_html_(self) -> str:
        return table(("target", "made by", "platform", "published", "tags", "description", "needs"), self._rows())


class Step(msgspec.Struct, frozen=True):
    """A node of a plan: ``status`` is run, may run or cached."""

    node: str
    status: str
    why: tuple[str, ...]


class _Steps:
    """Nodes with why each would run."""

    def __init__(self, steps: tuple[Step, ...], text: str) -> None:
        self.steps = steps
        self._text = text

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def count(self, status: str) -> int:
        return sum(step.status == status for step in self.steps)

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        counts = ", ".join(f"{self.count(s)} {s}" for s in ("run", "may run", "cached") if self.count(s))
        rows = [(step.status, step.node, "; ".join(step.why)) for step in self.steps]
        return table(("", "node", "why"), rows, counts or "nothing to do")


class Planned(_Steps):
    """What a build would run. ``skipped``: target → why it cannot be built here."""

    def __init__(self, steps: tuple[Step, ...], text: str, skipped: Mapping[str, str]) -> None:
        super().__init__(steps, text)
        self.skipped = skipped

    @classmethod
    def of(cls, plan: Plan, selection: Selection) -> Planned:
        lines = plan_lines(plan, selection, as_json=False, verbose=False)
        return cls(tuple(map(_step, plan.actions.values())), "\n".join(lines), selection.skipped)


class Reasons(_Steps):
    """Why the nodes of a target would run."""

    @classmethod
    def of(cls, plan: Plan) -> Reasons:
        steps = tuple(map(_step, plan.actions.values()))
        lines = [
            f"{step.status:8} {step.node}" + "".join(f"\n           {reason}" for reason in step.why) for step in steps
        ]
        return cls(steps, "\n".join(lines))


class Compared:
    """A comparison. ``verdict``: one sentence; ``found``: all that it rests on."""

    def __init__(self, found: Comparison) -> None:
        self.found = found

    @property
    def verdict(self) -> str:
        return self.found.verdict

    def __repr__(self) -> str:
        return "\n".join(comparison_lines(self.found))

    def _repr_html_(self) -> str:
        found = self.found
        rows = []
        for row in found.rows:
            values = ["–" if value is None else number(value, row.unit) for value in (row.first, row.second)]
            between = f" [{row.low:.3g}–{row.high:.3g}]" if row.low is not None and row.high is not None else ""
            ratio = "–" if row.ratio is None else f"×{row.ratio:.3g}{between}"
            better = {True: "better", False: "worse", None: ""}[row.better]
            rows.append((row.metric, *values, ratio, better))
        flips = ""
        if (quality := found.quality) is not None:
            flips = (
                f"<p>{escape(quality.metric)} on {quality.n} samples: right only in {escape(found.first)} "
                f"{quality.only_first}, only in {escape(found.second)} {quality.only_second}; p = {quality.p:.3g}</p>"
            )
        missing = "".join(f"<p>not compared: {escape(f'{what}: {why}')}</p>" for what, why in found.missing.items())
        head = ("metric", found.first, found.second, "ratio", "")
        return f"<p><b>{escape(found.verdict)}</b></p>{table(head, rows)}{flips}{missing}"


def _step(action: Action) -> Step:
    why = action.why
    found = [say(change) for change in why.changes]
    if why.depends:
        found.append(f"depends on {', '.join(why.depends)}")
    if why.reason == "first build":
        found.append("never built here")
    elif why.detail:
        found.append(why.detail)
    return Step(action.node.position, action.status, tuple(found))


def _hint(name: str, names: list[str]) -> str:
    hint = suggest(name, names)
    return f": {hint}" if hint else ""
