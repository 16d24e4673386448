"""A bill of materials of a published artifact: CycloneDX 1.6 with a model card (an "ML-BOM").

https://cyclonedx.org/docs/1.6/json/. It is made from the artifact's provenance and ``metrics.json`` alone, and holds no
time and no host name: equal artifacts have equal bills. The JSON is written here because the CycloneDX project's own
Python library has no model cards; a test checks it with that project's schema.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from .. import __version__
from ..digest import Digest
from ..errors import CbuildError
from ..evaluate.evidence import Evidence
from ..publish import SEAL
from .envelope import Envelope
from .verification import stated, verify

__all__ = ["bill"]

_NAMESPACE = uuid.UUID("b4ccd4a3-6c0a-5b53-8a8e-6f0f2d0f5a1e")
_MODEL = "model"


class _Covered(msgspec.Struct):
    """What the key of a step covers, as provenance names it."""

    key: str = ""
    kind: str = ""
    technique: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    data: dict[str, list[tuple[str, Any]]] = {}
    code: dict[str, str] = {}
    files: dict[str, str] = {}
    tools: dict[str, str | None] = {}


class _Step(NamedTuple):
    name: str
    output: Digest
    covered: _Covered


def bill(directory: Path, target: str, units: Mapping[str, str]) -> bytes:
    """The bill of the artifact in ``directory``, as JSON. ``units``: metric → unit.

    Raises CbuildError for a directory that is not what its provenance says.
    """
    found = verify(directory, target).mismatches
    if found:
        raise CbuildError(
            f"{target}: {', '.join(map(str, found))}",
            hint=f"a bill describes only what its provenance vouches for; 'cbuild {target}' publishes it again",
        )
    envelope = Envelope.read(directory / SEAL)
    said = stated(envelope)
    try:
        steps = [
            _Step(step.name, step.digest["blake3-tree"], msgspec.json.decode(step.annotations, type=_Covered))
            for step in said.predicate.buildDefinition.resolvedDependencies
        ]
    except msgspec.ValidationError as error:
        raise CbuildError(
            f"{target}: {SEAL} was written by another version of compressbuild ({error})",
            hint=f"'cbuild {target}' writes it again",
        ) from error
    parts = [*_data(steps), *_files(steps), *_libraries(steps)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, hashlib.sha256(envelope.payload).hexdigest())}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "compressbuild", "version": __version__}]},
            "component": {
                "type": "machine-learning-model",
                "bom-ref": _MODEL,
                "name": target,
                "version": steps[-1].output,
                "description": f"{steps[-1].covered.kind}, made by {', '.join(_techniques(steps))}",
                "modelCard": _card(steps, Evidence.read(directory) or Evidence(), units),
                "pedigree": {"ancestors": [_ancestor(step) for step in steps[:-1]]},
                "properties": _properties(steps[-1]),
                "components": [
                    {"type": "file", "name": each.name, "hashes": _hashes(each.digest)} for each in said.subject
                ],
            },
        },
        "components": parts,
        "dependencies": [{"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _techniques(steps: Iterable[_Step]) -> list[str]:
    return [str(step.covered.technique.get("name", step.name)) for step in steps]


def _hashes(digest: Mapping[str, str]) -> list[dict[str, str]]:
    names = {"sha256": "SHA-256", "blake3": "BLAKE3"}
    return [{"alg": names[kind], "content": value} for kind, value in sorted(digest.items()) if kind in names]


def _written(value: Any) -> str:
    """A value of a property, which CycloneDX has only as text."""
    return value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()


def _property(name: str, value: Any) -> dict[str, str]:
    return {"name": f"compressbuild:{name}", "value": _written(value)}


def _properties(step: _Step) -> list[dict[str, str]]:
    """How a step made its output. The key stands for all that it covers; provenance has the rest."""
    covered = step.covered
    return [
        _property("step", step.name),
        _property("technique", covered.technique.get("name", "")),
        _property("parameters", covered.parameters),
        _property("key", covered.key),
        _property("inputs", covered.inputs),
    ]


def _ancestor(step: _Step) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "name": step.name,
        "version": step.output,
        "properties": _properties(step),
    }


def _data(steps: Iterable[_Step]) -> Iterator[dict[str, Any]]:
    """Datasets, by loader and arguments, and the code that a step called, by the digest of its syntax tree."""
    datasets = {
        (reference, _written(args)): step.covered.code.get(reference, "")
        for step in steps
        for reference, args in step.covered.data.get("datasets", [])
    }
    for (reference, args), code in sorted(datasets.items()):
        ref = f"dataset:{reference}:{args}"
        described = {"type": "dataset", "name": reference, "contents": {"properties": [_property("arguments", args)]}}
        properties = [_property("code", code)]
        yield {"type": "data", "bom-ref": ref, "name": reference, "data": [described], "properties": properties}
    loaders = {reference for reference, _ in datasets}
    called = {item for step in steps for item in step.covered.code.items() if item[0] not in loaders}
    for reference, digest in sorted(called):
        yield {
            "type": "data",
            "bom-ref": f"code:{reference}:{digest}",
            "name": reference,
            "data": [{"type": "source-code", "name": reference}],
            "properties": [_property("code", digest)],
        }


def _files(steps: Iterable[_Step]) -> Iterator[dict[str, Any]]:
    for path, digest in sorted({item for step in steps for item in step.covered.files.items()}):
        yield {
            "type": "file",
            "bom-ref": f"file:{path}:{digest}",
            "name": path,
            "properties": [_property("digest", digest)],
        }


def _libraries(steps: Iterable[_Step]) -> Iterator[dict[str, Any]]:
    """Python and the distributions that the steps used."""
    used = {(name, version) for step in steps for name, version in step.covered.tools.items() if version}
    for name, version in sorted(used):
        part = {"bom-ref": f"{name}@{version}", "name": name, "version": version}
        if name == "python":
            yield {"type": "platform", **part}
        else:
            purl = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}"
            yield {"type": "library", **part, "purl": purl}


def _card(steps: Iterable[_Step], evidence: Evidence, units: Mapping[str, str]) -> dict[str, Any]:
    """The model card: data, metrics with their intervals, gates as trade-offs, warnings as limitations."""
    refs = [{"ref": part["bom-ref"]} for part in _data(steps) if part["bom-ref"].startswith("dataset:")]
    metrics = [_metric(name, found, units.get(name, "")) for name, found in sorted(evidence.metrics.items())]
    tradeoffs = [
        f"gate {gate.metric} {gate.limit} {gate.bound:g}"
        + (f" against {gate.against}" if gate.against else "")
        + f": {gate.verdict}"
        + (f", {gate.value:g}" if gate.value is not None else "")
        for gate in evidence.gates
    ]
    limits = [warning.message for warning in evidence.warnings]
    limits += [f"{name} was not measured: {why}" for name, why in sorted(evidence.unmeasured.items())]
    considerations = {"performanceTradeoffs": tradeoffs, "technicalLimitations": limits}
    return {
        "modelParameters": {"datasets": refs},
        "quantitativeAnalysis": {"performanceMetrics": [metric for metric in metrics if metric]},
        "considerations": {name: said for name, said in considerations.items() if said},
    }


def _metric(name: str, found: Mapping[str, Any], unit: str) -> dict[str, Any] | None:
    """None for a metric without a number, such as a table."""
    value = found.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    said: dict[str, Any] = {"type": f"{name} ({unit})" if unit else name, "value": repr(value)}
    low, high = found.get("low"), found.get("high")
    if low is not None and high is not None:
        said["confidenceInterval"] = {"lowerBound": repr(low), "upperBound": repr(high)}
    return said
