"""A damaged object of the remote cache is replaced, whatever goes wrong: else every machine fetches it in vain.

It has the size that it ought to have, so a size says nothing. The requests that fail are those of a real server.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Work
from flaky import flaky
from toyproject import Toy

from compressbuild.remote.objects import ObjectStore, Unreachable
from compressbuild.remote.unsent import Unsent

Checkout = Callable[..., Toy]

TEXT = "version: 1\nmodels: {f: {toy-folder: model}}\ntargets: {a: {from: f, steps: [toy.copy]}}\n"
LONG = "x" * 100_000
ROTTEN = LONG[:-1] + "y"


class Shared:
    """Machines with a large file, and the bucket that they share."""

    def __init__(self, checkout: Checkout, bucket: str) -> None:
        self._checkout, self._bucket = checkout, bucket
        self.store = ObjectStore(bucket, os.environ, 10)

    def machine(self, name: str, *, writes: bool = False) -> Toy:
        toy = self._checkout(name, writes=writes, url=self._bucket, text=TEXT)
        toy.write("model/text", LONG)
        toy.write("model/notes/note", "n")
        return toy

    def rot(self) -> str:
        (blob,) = (each.name for each in self.store.list("v1/cas"))
        assert self.store.replace(blob, ROTTEN.encode(), None)
        return blob

    def content(self, blob: str) -> str:
        got = self.store.get(blob, 1 << 20)
        assert got is not None
        return got.data.decode()


@pytest.fixture
def shared(checkout: Checkout, bucket: str) -> Shared:
    made = Shared(checkout, bucket)
    made.machine("first", writes=True).build("all")
    return made


def no_objects(method: str, path: str) -> int:
    return 400 if method == "PUT" and "/v1/cas/" in path else 0


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.mark.parametrize("how", ["push", "build"])
def test_a_writer_that_could_not_replace_it_does_so_later(
    shared: Shared, s3: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    """And says that the result is not there, rather than to take the damaged object for its own."""
    blob = shared.rot()
    with flaky(s3, no_objects) as broken:
        monkeypatch.setenv("AWS_ENDPOINT_URL", broken)
        second = shared.machine("second", writes=True)
        report, ran = second.build("all")
    assert (report.exit_code, len(ran)) == (0, 1)
    said = capfd.readouterr().err
    assert "has other bytes than its digest says" in said
    assert "cannot be used" in said
    assert "result" in said.partition("not in the remote cache")[0].rpartition("warning")[2], said
    assert shared.content(blob) == ROTTEN

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    if how == "push":
        work = Work(second.root, toy=True)
        said = work("cache", "push", "--cache-dir", str(second.cache), **_variables(), **second.environ).out
        assert "sent (100." in said, said
    else:
        second.write("Compressfile", TEXT.replace("toy.copy", "{toy.copy: {note: more}}"))
        second.build("all")  # runs something, and sends what is left
    assert shared.content(blob) == LONG
    capfd.readouterr()
    third = shared.machine("third")
    assert third.build("all")[1] == []
    assert third.value("a") == LONG
    assert "warning" not in capfd.readouterr().err


def test_an_upload_that_fails_is_no_success_because_of_what_was_there(shared: Shared, s3: str, bucket: str) -> None:
    blob = shared.rot()
    (path := shared.machine("second").root / "long").write_text(LONG)
    environ = dict(os.environ)
    with flaky(s3, no_objects) as broken:
        store = ObjectStore(bucket, environ | {"AWS_ENDPOINT_URL": broken}, 10)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", broken)
            with pytest.raises(Unreachable):
                store.upload(blob, path)
            with pytest.raises(Unreachable):
                store.upload(blob + "new", path)
    assert shared.content(blob) == ROTTEN
    assert shared.store.size(blob + "new") is None


def test_an_upload_whose_answer_is_lost_has_succeeded(
    shared: Shared, s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or somebody else's has: what is there has changed, and is whole."""
    blob = shared.rot()
    (path := shared.machine("second").root / "long").write_text(LONG)
    answers = iter([-400, 0])
    with flaky(s3, lambda method, _: next(answers) if method == "PUT" else 0) as broken:
        monkeypatch.setenv("AWS_ENDPOINT_URL", broken)
        ObjectStore(bucket, os.environ, 10).upload(blob, path)
    assert shared.content(blob) == LONG


def test_what_is_found_damaged_after_it_was_seen_there_is_written(shared: Shared) -> None:
    """By one process: a result was sent whose object had the right size, and then it was fetched in vain."""
    from compressbuild.project import connected

    project = shared.machine("first", writes=True).open()
    remote = connected(project)
    assert remote is not None
    blob = shared.rot()
    found = (each.result for each in project.plan(["a"]).actions.values() if each.result is not None)
    result = next(each for each in found if not each.imported and each.kind == "text")
    remote.reader.spoiled.add(result.key)
    remote.offer([result])
    assert remote.finish(lambda *_: None) == 0
    assert shared.content(blob) == ROTTEN  # it looked sound
    remote.reader.bad.add(blob)
    remote.offer([result])
    assert remote.finish(lambda *_: None) == 0
    assert shared.content(blob) == LONG
    project.close()


def test_notes_of_what_is_unsent(tmp_path: Path) -> None:
    """A damaged note, or another thing in its place, is a note without names."""
    notes = Unsent(tmp_path / "unsent")
    keys = [f"{number:064x}" for number in range(5)]
    notes.add(keys[0], ["v1/cas/aa/one", "v1/cas/bb/two"])
    notes.add(keys[0])
    notes.add(keys[1])
    os.mkfifo(tmp_path / "unsent" / keys[2])
    notes.add(keys[2], ["v1/cas/aa/one"])
    (tmp_path / "unsent" / keys[3]).write_bytes(b"\xff\xfe")
    (tmp_path / "unsent" / keys[4]).symlink_to(tmp_path / "elsewhere")
    notes.add(keys[4], ["v1/cas/aa/one"])
    assert not (tmp_path / "elsewhere").exists()
    assert notes.read() == {keys[0]: {"v1/cas/aa/one", "v1/cas/bb/two"}, **{key: set() for key in keys[1:]}}


def test_notes_that_cannot_be_listed(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The build goes on, and says that it does not know what is left to send."""
    plain = os.listdir

    def refused(path: str) -> list[str]:
        if os.fspath(path).endswith("unsent"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return plain(path)

    second = shared.machine("second", writes=True)
    second.write("Compressfile", TEXT.replace("toy.copy", "{toy.copy: {note: more}}"))
    monkeypatch.setattr(os, "listdir", refused)
    report, ran = second.build("all")
    assert (report.exit_code, len(ran)) == (0, 1)
    said = capfd.readouterr().err
    assert "what an earlier build could not send is not known: Input/output error" in said
    assert "'cbuild cache push'" in said
