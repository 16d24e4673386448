"""``cbuild push`` to a directory: what is refused, what appears, and that nothing half-written is ever seen."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from cbuild_push import directory
from command import Work
from keys import Pair

from compressbuild.build.verification import verify


def test_push_then_push_again(toys: Work, tmp_path: Path) -> None:
    there = tmp_path / "models"
    out = toys("push", "first", "second", f"{there}/").out.splitlines()
    assert out[0].startswith(f"first: pushed to {there}/first (3 of 3 files")
    assert not verify(there / "first", "first").mismatches
    assert not verify(there / "second", "second").mismatches
    before = (there / "first/value").stat()
    assert toys("push", "first", f"file://{there}").out == (
        f"first: already at {there}/first (3 files compared, nothing uploaded)\n"
    )
    assert (there / "first/value").stat() == before, "nothing was written"
    assert sorted(path.name for path in there.iterdir()) == ["first", "second"]


def test_what_is_damaged_there_is_replaced(toys: Work, tmp_path: Path) -> None:
    toys("push", "first", f"{tmp_path}/models")
    (tmp_path / "models/first/value").write_text("other")
    assert "first: pushed to" in toys("push", "first", f"{tmp_path}/models").out
    assert not verify(tmp_path / "models/first", "first").mismatches


def test_a_new_build_replaces_the_old_one(toys: Work, tmp_path: Path) -> None:
    toys("push", "first", f"{tmp_path}/models")
    toys("first", "--set", "vars.salt=2")
    toys("push", "first", f"{tmp_path}/models", "--set", "vars.salt=2")
    assert (tmp_path / "models/first/value").read_bytes() == (toys.root / "build/first/value").read_bytes()
    assert not verify(tmp_path / "models/first", "first").mismatches


def test_an_entry_of_the_file_names_place_and_targets(toys: Work) -> None:
    assert len(toys("push").out.splitlines()) == 2
    assert toys("push", "here").out.count("already at") == 2
    toys.edit("Compressfile", '["*"]', "[first]")
    assert "'here' of 'publish' is not for second" in toys("push", "second", "here", code=2).err
    assert not verify(toys.root / "out/models/second", "second").mismatches


@pytest.mark.parametrize("word", ["./", "nowhere", "first"])
def test_what_is_no_destination(toys: Work, word: str) -> None:
    toys("push", word, code=2)


def test_an_unbuilt_target_is_refused(toys: Work, tmp_path: Path) -> None:
    shutil.rmtree(toys.root / "build/second")
    err = toys("push", "first", "second", f"{tmp_path}/models", code=1).err
    assert "second is not built" in err
    assert "cbuild second" in err
    assert not (tmp_path / "models").exists(), "the other target was not pushed either"


def test_a_target_that_missed_its_gate_is_refused(toys: Work, tmp_path: Path) -> None:
    toys("second", "--set", "targets.second.gates.length.max=0", code=3)
    err = toys("push", "second", f"{tmp_path}/models", code=1).err
    assert "second missed its gates: length: max 0, got 1" in err


def test_a_gate_that_was_not_judged_is_refused(toys: Work, tmp_path: Path) -> None:
    err = toys("push", "second", f"{tmp_path}/models", "--set", "targets.second.gates.length.max=5", code=1).err
    assert "second was not judged by the gate length: max 5" in err


def test_changed_bytes_are_refused(toys: Work, tmp_path: Path) -> None:
    (toys.root / "build/first/value").write_text("other")
    assert "first: value changed" in toys("push", "first", f"{tmp_path}/models", code=1).err


@pytest.mark.parametrize("cached", [True, False])
def test_an_outdated_build_is_refused(toys: Work, tmp_path: Path, cached: bool) -> None:
    if not cached:
        shutil.rmtree(toys.root / "cache")
    err = toys("push", "second", f"{tmp_path}/models", "--set", "vars.salt=3", code=1).err
    assert "second is not what the Compressfile asks for now" in err
    if cached:
        toys("push", "second", f"{tmp_path}/models")


def test_a_lost_cache_is_no_reason(toys: Work, tmp_path: Path) -> None:
    shutil.rmtree(toys.root / "cache")
    toys("push", "second", f"{tmp_path}/models")


def test_a_lost_source_is_said(toys: Work, tmp_path: Path) -> None:
    (toys.root / "f.txt").unlink()
    ran = toys("push", "second", f"{tmp_path}/models")
    assert ran.err.startswith("not compared with the Compressfile: ")


def test_a_signature_can_be_demanded(toys: Work, tmp_path: Path) -> None:
    pair = Pair.make(tmp_path / "keys", "mine")
    push = ("push", "first", f"{tmp_path}/models", "--key", str(pair.public))
    assert "not signed by this key" in toys(*push, code=1).err
    toys("sign", "first", "--key", str(pair.private))
    toys(*push)


@pytest.mark.parametrize("there", ["file", "link", "foreign", "beside", "another target", "inside"])
def test_what_is_there_is_not_overwritten(toys: Work, tmp_path: Path, there: str) -> None:
    models = tmp_path / "models"
    models.mkdir()
    place, said = models / "first", "no push put there"
    if there == "file":
        place.write_text("mine")
        said = "not a directory"
    elif there == "link":
        place.symlink_to(tmp_path)
        said = "not a directory"
    elif there == "foreign":
        place.mkdir()
        (place / "mine").write_text("mine")
    elif there == "beside":
        shutil.copytree(toys.root / "build/first", place)
        (place / "mine").write_text("mine")
        said = "mine is there, which no push put there"
    elif there == "another target":
        shutil.copytree(toys.root / "build/second", place)
        said = "target 'second' is there"
    else:
        shutil.copytree(toys.root / "build/second", models, dirs_exist_ok=True)
        said = "is itself a published artifact"
    before = sorted(models.rglob("*"))
    assert said in toys("push", "first", f"{models}/", code=1).err
    assert sorted(models.rglob("*")) == before


def test_several_targets_need_places_of_their_own(toys: Work, tmp_path: Path) -> None:
    toys("push", "first", "second", f"{tmp_path}/models/{{target}}/v1")
    assert not verify(tmp_path / "models/second/v1", "second").mismatches


def test_a_dry_run_changes_nothing(toys: Work, tmp_path: Path) -> None:
    assert "first: would go to" in toys("push", "-n", "first", f"{tmp_path}/models").out
    assert not (tmp_path / "models").exists()


def test_json(toys: Work, tmp_path: Path) -> None:
    said = json.loads(toys("push", "first", f"{tmp_path}/models", "--json").out)
    assert said == {
        "target": "first", "status": "pushed", "where": f"{tmp_path}/models/first", "files": 3,
        "size": sum(path.stat().st_size for path in (toys.root / "build/first").iterdir()),
    }  # fmt: skip


def test_bytes_that_come_back_changed_are_never_seen(
    toys: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that damages what it is given: here, a copy that flips a bit."""

    def damaging(reading, writing, size) -> None:
        data = reading.read()
        writing.write(data[:-1] + bytes([data[-1] ^ 1]))

    monkeypatch.setattr(directory.shutil, "copyfileobj", damaging)
    err = toys("push", "first", f"{tmp_path}/models", code=1).err
    assert "came back with other bytes" in err
    assert list((tmp_path / "models").iterdir()) == []


class Stopped(BaseException):
    """A kill: nothing catches it, and nothing is cleaned up after it."""


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def stops(monkeypatch: pytest.MonkeyPatch, at: int) -> list[int]:
    """Make the ``at``-th change of the disk the last."""
    left = [at]

    def limited(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Stopped
            return function(*args, **kwargs)

        return call

    for module, name in ((os, "rename"), (os, "fsync"), (shutil, "copyfileobj"), (shutil, "rmtree"), (Path, "mkdir")):
        monkeypatch.setattr(module, name, limited(getattr(module, name)))
    return left


@pytest.mark.parametrize("replacing", [False, True])
def test_a_kill_at_any_moment_leaves_a_whole_artifact_or_none(
    toys: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replacing: bool
) -> None:
    """A reader sees the old one, none or the new one; the next push ends with the new one and nothing beside it. One
    that fails before, as the disk is full, leaves the old one, or the new."""
    models, old = tmp_path / "models", tmp_path / "old"
    toys("push", "first", f"{old}/")
    toys("first", "--set", "vars.salt=2")
    push = ("push", "first", f"{models}/", "--set", "vars.salt=2")
    new = (toys.root / "build/first/provenance.json").read_bytes()
    seen, at = set(), 0
    while True:
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(old, models) if replacing else models.mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(directory.os, "getpid", lambda: 2**22 + 1)  # a process that is gone afterwards
            left = stops(patch, at)
            try:
                toys(*push)
            except Stopped:
                pass
        if (models / "first").exists():
            assert not verify(models / "first", "first").mismatches
            seen.add("new" if (models / "first/provenance.json").read_bytes() == new else "old")
        else:
            seen.add("none")
        if replacing:
            with monkeypatch.context() as patch:
                patch.setattr(directory.shutil, "copyfileobj", _full)
                toys(*push, code=None)
            assert not verify(models / "first", "first").mismatches, "nothing whole is there any more"
        toys(*push)
        assert not verify(models / "first", "first").mismatches
        assert (models / "first/provenance.json").read_bytes() == new
        assert [path.name for path in models.iterdir()] == ["first"]
        if left[0] >= 0:
            break
        at += 1
    assert at > 8
    assert seen == ({"old", "none", "new"} if replacing else {"none", "new"})
