"""The model card of a published artifact, made from its evidence and provenance alone.

Equal artifacts have equal cards: a card holds no time and no host name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ..api import ParcelFile
from ..build.verification import Statement
from ..evaluate.evidence import Evidence
from ..graph import TargetPlan
from ..plan import Plan
from ..project import Project
from ..publish import SEAL
from ..report.data.about import loading
from ..report.text.markdown import escaped
from ..report.text.table import with_ratio
from ..report.text.verdicts import gate_words, said
from ..words import number

__all__ = ["Facts", "markdown"]

_MACHINE = {"cpu.model": "processor", "gpu.name": "GPU", "gpu.driver": "driver", "os": "system"}
_LONG = 120  # characters of a step's parameters


class _Covered(msgspec.Struct):
    kind: str = ""
    technique: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    tools: dict[str, str | None] = {}


class _Step(NamedTuple):
    name: str
    covered: _Covered


class Facts(NamedTuple):
    """What a card tells. ``machine``: where it was measured, if that is known here. ``loading``: lines of Python."""

    target: TargetPlan
    kind: str
    artifact: str
    evidence: Evidence
    units: Mapping[str, str]
    steps: Sequence[_Step]
    files: Sequence[ParcelFile]
    machine: Mapping[str, str]
    summary: str
    loading: str
    data: str | None

    @classmethod
    def of(
        cls,
        project: Project,
        target: TargetPlan,
        statement: Statement,
        evidence: Evidence,
        files: Sequence[ParcelFile],
        plan: Plan | None,
    ) -> Facts:
        steps = [
            _Step(step.name, msgspec.json.decode(step.annotations, type=_Covered))
            for step in statement.predicate.buildDefinition.resolvedDependencies
        ]
        kind = project.registry.kinds.get(steps[-1].covered.kind)
        evaluated = target.spec.evaluate or project.spec.evaluate
        return cls(
            target=target,
            kind=steps[-1].covered.kind,
            artifact=statement.artifact or "",
            evidence=evidence,
            units={name: metric.unit for name, metric in project.graph.metrics.items()},
            steps=steps,
            files=files,
            machine=_machine(target, plan),
            summary=kind.summary if kind is not None else "",
            loading=loading(kind, steps[-1].covered.parameters, (f.name for f in files)) if kind is not None else "",
            data=evaluated.data if evaluated is not None else None,
        )

    @property
    def labels(self) -> dict[str, str]:
        found = {
            "platform": self.target.spec.platform,
            "baseline": self.target.baseline,
            "data": self.data,
            "techniques": ", ".join(dict.fromkeys(_technique(step) for step in self.steps)),
        }
        return {name: value for name, value in found.items() if value}


def markdown(facts: Facts) -> str:
    """The card without metadata."""
    target, evidence = facts.target, facts.evidence
    platform = f" for platform {escaped(target.spec.platform)}" if target.spec.platform else ""
    blocks = [
        [f"# {escaped(target.name)}"],
        [
            f"{facts.kind}{platform}"
            + (f": {escaped(facts.summary)}" if facts.summary else "")
            + ". Built by compressbuild."
        ],
        *_section("Metrics", _metrics(facts)),
        *_section("Gates", _gates(evidence)),
        *_section("Limitations", _limitations(evidence)),
        *_section("Measured on", [f"- {name}: {escaped(value)}" for name, value in facts.machine.items()]),
        *_section("Load", _load(facts)),
        *_section("How it was made", _made(facts.steps)),
        *_section("Digests", _digests(facts)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _section(title: str, lines: Iterable[str]) -> list[list[str]]:
    found = list(lines)
    return [[f"## {title}"], found] if found else []


def _machine(target: TargetPlan, plan: Plan | None) -> dict[str, str]:
    """The facts in the keys of its measurements. A key that is cached here was measured on this machine."""
    nodes = (metric.node for metric in target.metrics)
    actions = [plan.actions[node] for node in nodes if node is not None] if plan is not None else []
    seen = [action.parts["facts"] for action in actions if action.status == "cached" and action.parts]
    return {shown: str(facts[fact]) for fact, shown in _MACHINE.items() for facts in seen if facts.get(fact)}


def _metrics(facts: Facts) -> Iterator[str]:
    found = facts.evidence.metrics
    if not found:
        return
    against = f" (× of {escaped(facts.target.baseline)})" if facts.target.baseline else ""
    yield f"| metric | value{against} | 95 % interval |"
    yield "|---|---|---|"
    for name, result in found.items():
        unit = facts.units.get(name, "")
        low, high = result.get("low"), result.get("high")
        spread = f"{number(low, unit)} – {number(high, unit)}" if low is not None and high is not None else "–"
        yield f"| {escaped(name)} | {with_ratio(result, unit)} | {spread} |"
    if facts.data:
        yield ""
        yield f"Measured on the dataset {escaped(facts.data)}. Of times, only ratios carry over to other machines."


def _gates(evidence: Evidence) -> Iterator[str]:
    if evidence.gates:
        yield "| gate | got | verdict |"
        yield "|---|---|---|"
    for each in evidence.gates:
        words = gate_words(each.metric, each.limit, each.bound, each.against)
        yield f"| {escaped(words)} | {said(each)[0]} | {each.verdict} |"


def _limitations(evidence: Evidence) -> Iterator[str]:
    yield from (f"- {escaped(warning.message)}" for warning in evidence.warnings)
    yield from (f"- {escaped(name)} was not measured: {escaped(why)}" for name, why in evidence.unmeasured.items())


def _load(facts: Facts) -> Iterator[str]:
    if facts.loading:
        yield "`directory` is where these files are:"
        yield ""
        yield "```python"
        yield from facts.loading.splitlines()
        yield "```"


def _technique(step: _Step) -> str:
    return str(step.covered.technique.get("name", step.name))


def _made(steps: Sequence[_Step]) -> Iterator[str]:
    yield "| step | technique | parameters |"
    yield "|---|---|---|"
    for step in steps:
        words = ", ".join(f"{name}: {_short(value)}" for name, value in sorted(step.covered.parameters.items()))
        words = words if len(words) <= _LONG else words[: _LONG - 1] + "…"
        yield f"| {escaped(step.name)} | {escaped(_technique(step))} | {escaped(words) or '–'} |"
    tools = {name: version for step in steps for name, version in step.covered.tools.items() if version}
    yield ""
    yield "With " + ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in sorted(tools.items())) + "."


def _short(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()


def _digests(facts: Facts) -> Iterator[str]:
    yield f"The artifact is `{facts.artifact}` (BLAKE3 of its tree). {SEAL} says how each file was made, and"
    yield f"`cbuild verify DIRECTORY/ --target {facts.target.name} --artifact {facts.artifact}` compares them all."
    yield ""
    yield "| file | size | SHA-256 |"
    yield "|---|---:|---|"
    for file in facts.files:
        yield f"| {escaped(file.name)} | {number(file.size, 'B')} | `{file.sha256}` |"
