"""The statement beside each published artifact, and checking against it."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from pathlib import Path

import blake3
import msgspec
import pytest
from toyproject import CHAIN, Toy

from compressbuild.build import provenance
from compressbuild.build.envelope import Envelope
from compressbuild.build.verification import Mismatch, verify
from compressbuild.digest import StatCache
from compressbuild.publish import SEAL


@pytest.fixture
def built(toy: Toy) -> Toy:
    toy.write("Compressfile", CHAIN)
    toy.build()
    return toy


def statement(toy: Toy, target: str = "b") -> dict:
    return msgspec.json.decode(Envelope.read(toy.root / "build" / target / SEAL).payload)


def test_it_is_in_a_dsse_envelope(built: Toy):
    data = (built.root / "build/b" / SEAL).read_bytes()
    envelope = msgspec.json.decode(data)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert envelope["signatures"] == []
    assert msgspec.json.decode(base64.b64decode(envelope["payload"], validate=True)) == statement(built)


def test_it_is_an_in_toto_statement(built: Toy):
    said = statement(built)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {"buildDefinition", "runDetails"} == said["predicate"].keys()
    definition = said["predicate"]["buildDefinition"]
    assert {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"} == definition.keys()
    assert definition["externalParameters"]["target"] == "b"
    assert said["predicate"]["runDetails"]["builder"]["id"].startswith("https://")


def test_subjects_are_what_lies_there(built: Toy):
    directory = built.root / "build/b"
    subjects = {subject["name"]: subject["digest"] for subject in statement(built)["subject"]}
    assert subjects.keys() == {"value", "metrics.json"}
    for name, digest in subjects.items():
        data = (directory / name).read_bytes()
        assert digest == {"sha256": hashlib.sha256(data).hexdigest(), "blake3": blake3.blake3(data).hexdigest()}


def test_steps_in_order_with_all_that_their_keys_cover(built: Toy):
    steps = statement(built)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [step["name"] for step in steps] == ["f/source", "a/toy.mix", "b/toy.copy"]
    outputs = [step["digest"]["blake3-tree"] for step in steps]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in outputs)
    for before, step in zip(outputs, steps[1:], strict=False):
        assert step["annotations"]["inputs"] == {"subject": before}
    assert steps[1]["annotations"]["parameters"]["salt"] == 1
    source = steps[0]["annotations"]["files"]
    assert source == {"f.txt": blake3.blake3(b"abc").hexdigest()}


def test_equal_builds_have_equal_provenance(built: Toy, tmp_path):
    other = Toy(tmp_path / "in another place")
    other.write("f.txt", "abc")
    other.write("Compressfile", "# A comment.\n" + CHAIN)
    other.build()
    for name in ("a", "b"):
        paths = [toy.root / "build" / name / SEAL for toy in (built, other)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert str(built.root).encode() not in paths[0].read_bytes()


def test_verify(built: Toy):
    directory = built.root / "build/b"
    assert verify(directory, "b").mismatches == ()
    (directory / "extra").write_text("")
    (directory / "value").write_text("tampered")
    (directory / "metrics.json").unlink()
    found = {mismatch.path: mismatch.what for mismatch in verify(directory, "b").mismatches}
    assert found == {"metrics.json": "missing", "extra": "extra", "value": "changed"}
    (directory / SEAL).write_text("[]")
    (found,) = verify(directory, "b").mismatches
    assert str(found).startswith("provenance.json cannot be read (Expected `object`")
    (directory / SEAL).unlink()
    assert verify(directory, "b").mismatches == (Mismatch(SEAL, "cannot be read (No such file or directory)"),)


def test_only_allowed_variables_are_told(toy: Toy, monkeypatch: pytest.MonkeyPatch):
    toy.write("Compressfile", "env: [ALLOWED]\n" + CHAIN)
    from compressbuild.project import Project

    opened = Project(toy.root / "Compressfile", environ={"ALLOWED": "1", "SECRET": "2"})
    assert opened.keyer.environment == {"ALLOWED": "1"}


@pytest.mark.parametrize("size", [0, 1, provenance._CHUNK - 1, provenance._CHUNK, provenance._CHUNK + 1, 200_000])
def test_both_digests_are_of_all_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(data := random.Random(size).randbytes(size))
    want = {"sha256": hashlib.sha256(data).hexdigest(), "blake3": blake3.blake3(data).hexdigest()}
    stat = StatCache(tmp_path / "stat", tmp_path)
    assert provenance._digests(str(path), None) == provenance._digests(str(path), stat) == want
