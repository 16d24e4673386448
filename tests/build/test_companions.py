"""What a model has published beside everything that is made of it: its own files, vouched for, not measured."""

from __future__ import annotations

import msgspec
import pytest
from toyproject import Toy

from compressbuild.build.envelope import Envelope
from compressbuild.build.verification import Mismatch, verify
from compressbuild.errors import CbuildError
from compressbuild.publish import SEAL

TEXT = """
version: 1
models: {f: {toy-folder: model}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.copy: {note: n}}]}
  b: {from: a, steps: [{toy.mix: {salt: 1}}]}
"""


@pytest.fixture
def made(toy: Toy) -> Toy:
    toy.write("Compressfile", TEXT)
    toy.write("model/text", "abc")
    toy.write("model/notes/config.json", "{}")
    toy.write("model/notes/deep/more.txt", "more")
    toy.build()
    return toy


def published(toy: Toy, target: str = "b") -> dict[str, str]:
    place = toy.root / "build" / target
    files = [path for path in place.rglob("*") if path.is_file() and path.name not in (SEAL, "metrics.json")]
    return {path.relative_to(place).as_posix(): path.read_text() for path in files}


def test_they_lie_beside_every_artifact(made: Toy) -> None:
    assert published(made)["config.json"] == "{}"
    assert published(made, "a") == {"value": "abc", "config.json": "{}", "deep/more.txt": "more"}


def test_they_are_vouched_for(made: Toy) -> None:
    place = made.root / "build" / "a"
    assert verify(place, "a").mismatches == ()
    said = msgspec.json.decode(Envelope.read(place / SEAL).payload)
    beside = {each["name"] for each in said["subject"] if each.get("annotations") == {"companion": True}}
    assert beside == {"config.json", "deep/more.txt"}
    names = [step["name"] for step in said["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert names[-1] == "a/toy.copy"
    assert "f/companions" in names
    (place / "deep" / "more.txt").write_text("other")
    assert verify(place, "a").mismatches == (Mismatch("deep/more.txt", "changed"),)
    (place / "deep" / "more.txt").unlink()
    assert Mismatch("deep/more.txt", "missing") in verify(place, "a").mismatches


def test_a_changed_note_is_published_and_nothing_made_again(made: Toy) -> None:
    made.write("model/notes/config.json", '{"new": 1}')
    _, again = made.build()
    assert published(made, "a")["config.json"] == '{"new": 1}'
    assert verify(made.root / "build" / "a", "a").mismatches == ()
    assert sorted(again) == ["f/companions", "f/source"], "the text is the same, so what is made of it is"


def test_changed_weights_run_what_they_must(made: Toy) -> None:
    made.write("model/text", "abcd")
    _, again = made.build()
    assert published(made, "a")["value"] == "abcd"
    assert {"f/source", "a/toy.copy"} <= set(again)
    assert made.build()[1] == []


def test_a_name_that_the_artifact_has(made: Toy) -> None:
    made.write("model/notes/value", "x")
    with pytest.raises(CbuildError, match="has a file named 'value', which comes with its model"):
        made.build()
