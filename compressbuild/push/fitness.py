"""Whether a target may be pushed: it is published, sound, within its gates, and what the Compressfile asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from ..build.envelope import Envelope
from ..build.verification import Statement, stated, verify
from ..compressfile.gates import LIMITS, RELATIVE_LIMITS
from ..digest import Digest
from ..errors import CbuildError
from ..evaluate.evidence import Evidence
from ..graph import TargetPlan
from ..project import Project
from ..publish import SEAL
from ..report.text.verdicts import gate_words
from ..signing import PublicKey

__all__ = ["check_current", "check_gates", "published"]


class _Key(msgspec.Struct):
    key: str = ""


def published(project: Project, name: str, key: PublicKey | None) -> Statement:
    """What the provenance of a published target says. CbuildError if it is not published, or not as it was."""
    directory = project.publisher.path(name)
    if not os.path.lexists(directory):
        missed = list(_missed(Evidence.read(project.state / "rejected" / name)))
        if missed:
            hint = f"improve it, or change the gate; what missed it is in .cbuild/rejected/{name}"
            raise CbuildError(f"{name} missed its gates: {'; '.join(missed)}", hint=hint)
        raise CbuildError(f"{name} is not built", hint=f"run this first: cbuild {name}")
    found = verify(directory, name, key=key).mismatches
    if found:
        hint = f"'cbuild {name}' publishes it again; 'cbuild verify {name}' shows all that differs"
        raise CbuildError(f"{name}: {', '.join(map(str, found[:3]))}", hint=hint)
    return stated(Envelope.read(directory / SEAL))


def check_gates(target: TargetPlan, evidence: Evidence) -> None:
    """Every gate of the Compressfile was judged when the target was published, and none was missed."""
    missed = list(_missed(evidence))
    if missed:
        raise CbuildError(
            f"{target.name} missed its gates: {'; '.join(missed)}", hint="improve it, then build it again"
        )
    judged = {(each.metric, each.limit, each.bound, each.against) for each in evidence.gates}
    for words, gate in _wanted(target):
        if gate not in judged:
            raise CbuildError(
                f"{target.name} was not judged by the gate {words}", hint=f"run this first: cbuild {target.name}"
            )


def check_current(project: Project, target: TargetPlan, said: Statement) -> None:
    """Each step has the key now that it had then. Outputs come from the provenance, so no cache is needed."""
    steps = said.predicate.buildDefinition.resolvedDependencies
    made = {msgspec.json.decode(step.annotations, type=_Key).key: step.digest.get("blake3-tree", "") for step in steps}
    graph, keyer, outputs = project.graph, project.keyer, dict[int, Digest]()
    for index in graph.ordered([target.artifact]):
        node = graph.nodes[index]
        key = keyer.key(keyer.parts(node, {role: outputs[i] for role, i in node.inputs.items()}))
        if key not in made:
            raise CbuildError(
                f"{target.name} is not what the Compressfile asks for now: {node.position} changed",
                hint=f"'cbuild why {target.name}' says what; 'cbuild {target.name}' builds it again",
            )
        outputs[index] = made[key]


def _missed(evidence: Evidence | None) -> Iterator[str]:
    for each in evidence.gates if evidence is not None else ():
        if not each.ok:
            got = f", got {each.value:.4g}" if each.value is not None else ""
            yield gate_words(each.metric, each.limit, each.bound, each.against) + got


def _wanted(target: TargetPlan) -> Iterator[tuple[str, tuple[str, str, float, str | None]]]:
    for plan in target.gates:
        for limit in LIMITS:
            bound = getattr(plan.spec, limit.replace("-", "_"))
            if bound is not None:
                against = plan.spec.against if limit in RELATIVE_LIMITS else None
                words = gate_words(plan.spec.metric, limit, bound, against)
                yield words, (plan.spec.metric, limit, bound, against)
