"""The bill of materials: valid by the official schema, complete, and the same for the same artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Inline, Work
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from compressbuild.build.envelope import Envelope
from compressbuild.build.provenance import sha256
from compressbuild.build.sbom import bill
from compressbuild.errors import CbuildError

TEXT = """
version: 1
models: {f: {file: f.txt}}
datasets: {d: {loader: "loads:load", args: {n: 3}, files: [d.txt]}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}], gates: {length: {min: 1}}}
  b: {from: a, steps: [{toy.copy: {data: d}}]}
"""
LOADER = """
from pathlib import Path

def load(n):
    return [(Path(__file__).parent / "d.txt").read_text()] * n
"""


@pytest.fixture
def project(tmp_path: Path) -> Work:
    work = Inline(tmp_path / "project", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work.write("d.txt", "data")
    work.write("loads.py", LOADER)
    work("all")
    return work


def made(project: Work, target: str, units: dict[str, str] | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bill(project.root / "build" / target, target, units or {}))
    return document


def valid(document: dict[str, Any]) -> object:
    """What the schema has against it, or None."""
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))


def test_the_official_schema_takes_it(project: Work):
    document = made(project, "b")
    assert valid(document) is None
    document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] = 3
    assert valid(document) is not None, "the schema looks at model cards"


def test_it_names_all_that_the_artifact_was_made_of(project: Work):
    document = made(project, "b")
    model = document["metadata"]["component"]
    files = {part["name"]: part["hashes"] for part in model["components"]}
    directory = project.root / "build/b"
    assert files.keys() == {path.name for path in directory.iterdir()} - {"provenance.json"}
    for name, hashes in files.items():
        assert {"alg": "SHA-256", "content": sha256(directory / name)} in hashes
    named = {(part["type"], part["name"]) for part in document["components"]}
    assert {("data", "loads:load"), ("file", "d.txt"), ("platform", "python")} <= named
    assert {part["bom-ref"] for part in document["components"]} == set(document["dependencies"][0]["dependsOn"])
    assert [step["name"] for step in model["pedigree"]["ancestors"]] == ["f/source", "a/toy.mix"]
    assert {"name": "compressbuild:technique", "value": "toy.copy"} in model["properties"]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": 'dataset:loads:load:{"n":3}'}]


def test_the_card_holds_metrics_and_gates(project: Work):
    card = made(project, "a", {"length": "B"})["metadata"]["component"]["modelCard"]
    value = json.loads((project.root / "build/a/metrics.json").read_text())["metrics"]["length"]["value"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "length (B)", "value": repr(value)}]
    assert card["considerations"]["performanceTradeoffs"] == [f"gate length min 1: pass, {value:g}"]


def test_equal_artifacts_have_equal_bills(project: Work):
    first = bill(project.root / "build/b", "b", {})
    project.write("d.txt", "other")
    project("all")
    assert bill(project.root / "build/b", "b", {}) != first
    project.write("d.txt", "data")
    project("all")
    assert bill(project.root / "build/b", "b", {}) == first


def test_nothing_is_said_of_a_damaged_artifact(project: Work):
    with (project.root / "build/b/metrics.json").open("a") as file:
        file.write(" ")
    with pytest.raises(CbuildError, match=r"b: metrics\.json changed"):
        bill(project.root / "build/b", "b", {})


def test_a_statement_of_another_form_is_named(project: Work):
    seal = project.root / "build/b/provenance.json"
    statement = json.loads(Envelope.read(seal).payload)
    statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["annotations"]["tools"] = ["torch"]
    seal.write_bytes(Envelope(json.dumps(statement).encode()).encode())
    with pytest.raises(CbuildError, match=r"b: provenance\.json was written by another version of compressbuild"):
        bill(project.root / "build/b", "b", {})
