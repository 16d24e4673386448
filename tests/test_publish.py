"""``build/<target>/``: there whole, or as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressbuild.digest import StatCache
from compressbuild.errors import CbuildError
from compressbuild.publish import Publisher
from compressbuild.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "cache") as store:
        yield store


@pytest.fixture
def publisher(tmp_path: Path, store: Store) -> Publisher:
    return Publisher(tmp_path / "build", store, StatCache(tmp_path / "stat", tmp_path))


def artifact(store: Store, tmp_path: Path, files: dict[str, str]) -> str:
    source = tmp_path / "made"
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    tree = store.cas.put_tree(source)
    for path in sorted(source.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return tree.digest


MADE_OF = "0" * 64


def seal(directory: Path, tree: object) -> bytes:
    names = sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())
    return ",".join(n for n in names if n != "provenance.json").encode()


def held(directory: Path) -> dict[str, str]:
    return {p.relative_to(directory).as_posix(): p.read_text() for p in directory.rglob("*") if p.is_file()}


def test_publish_and_again(publisher: Publisher, store: Store, tmp_path: Path):
    digest = artifact(store, tmp_path, {"model": "m", "parts/one": "1"})
    files = {"metrics.json": b"{}"}
    assert publisher.publish("t", digest, files, MADE_OF, seal)
    expected = {
        "model": "m", "parts/one": "1", "metrics.json": "{}", "provenance.json": "metrics.json,model,parts/one",
    }  # fmt: skip
    assert held(publisher.path("t")) == expected
    inode = (publisher.path("t") / "model").stat().st_ino
    assert not publisher.publish("t", digest, files, MADE_OF, seal)  # nothing to write
    assert (publisher.path("t") / "model").stat().st_ino == inode
    assert publisher.publish("t", digest, {"metrics.json": b"{1}"}, MADE_OF, seal)
    assert held(publisher.path("t")) == {**expected, "metrics.json": "{1}"}
    assert os.listdir(tmp_path / "build") == ["t"]


@pytest.mark.parametrize("tamper", ["change", "remove", "add", "directory", "seal", "link", "link of seal"])
def test_what_was_tampered_with_is_written_anew(publisher: Publisher, store: Store, tmp_path: Path, tamper: str):
    digest = artifact(store, tmp_path, {"model": "m"})
    publisher.publish("t", digest, {}, MADE_OF, seal)
    before = held(publisher.path("t"))
    model = publisher.path("t") / "model"
    if tamper == "change":
        model.write_text("n")
    elif tamper == "remove":
        model.unlink()
    elif tamper == "add":
        (publisher.path("t") / "more").write_text("")
    elif tamper == "seal":
        (publisher.path("t") / "provenance.json").write_text("another")
    elif tamper.startswith("link"):  # to equal bytes: whoever owns its target can change them
        path = model if tamper == "link" else publisher.path("t") / "provenance.json"
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        model.unlink()
        model.mkdir()
    assert publisher.publish("t", digest, {}, MADE_OF, seal)
    assert held(publisher.path("t")) == before
    assert not any(path.is_symlink() for path in publisher.path("t").iterdir())


def test_the_seal_is_asked_again_only_of_what_is_new(publisher: Publisher, store: Store, tmp_path: Path):
    digest = artifact(store, tmp_path, {"model": "m"})
    asked = []

    def counted(directory: Path, tree: object) -> bytes:
        asked.append(directory.name)
        return seal(directory, tree)

    assert publisher.publish("t", digest, {}, MADE_OF, counted)
    for _ in range(3):
        assert not publisher.publish("t", digest, {}, MADE_OF, counted)
    assert asked[1:] == ["t"]  # once to write it, once to read it
    assert not publisher.publish("t", digest, {}, "1" * 64, counted)  # made of something else: says the same
    assert publisher.publish("t", digest, {}, "2" * 64, lambda directory, tree: b"other")
    assert (publisher.path("t") / "provenance.json").read_bytes() == b"other"
    assert publisher.publish("t", digest, {}, MADE_OF, counted)  # and back: the seal there is not its own


def test_published_files_are_the_users(publisher: Publisher, store: Store, tmp_path: Path):
    """Writable, and no link into the cache: changing one does not change the cache."""
    digest = artifact(store, tmp_path, {"model": "m"})
    publisher.publish("t", digest, {}, MADE_OF, seal)
    (publisher.path("t") / "model").write_text("mine")
    assert not store.cas.check_tree(digest)
    for path in (tmp_path / "cache/cas").rglob("*"):
        if path.is_file():
            assert path.stat().st_nlink == 1


def test_names_that_the_build_writes_are_refused(publisher: Publisher, store: Store, tmp_path: Path):
    for name in ("metrics.json", "provenance.json"):
        digest = artifact(store, tmp_path, {"model": "m", name: "x"})
        with pytest.raises(CbuildError, match=f"makes a file named '{name}'"):
            publisher.publish("t", digest, {"metrics.json": b""}, MADE_OF, seal)
        assert not publisher.path("t").exists()


def test_failing_half_way_leaves_what_was_there(publisher: Publisher, store: Store, tmp_path: Path):
    publisher.publish("t", artifact(store, tmp_path, {"model": "old"}), {}, MADE_OF, seal)
    before = held(publisher.path("t"))

    def broken(directory: Path, tree: object) -> bytes:
        raise CbuildError("no")

    with pytest.raises(CbuildError):
        publisher.publish("t", artifact(store, tmp_path, {"model": "new"}), {}, MADE_OF, broken)
    assert held(publisher.path("t")) == before


def test_withdraw(publisher: Publisher, store: Store, tmp_path: Path):
    assert not publisher.withdraw("t")
    publisher.publish("t", artifact(store, tmp_path, {"model": "m"}), {}, MADE_OF, seal)
    assert publisher.withdraw("t")
    assert os.listdir(tmp_path / "build") == []
    publisher.path("t").symlink_to(tmp_path)  # somebody's link is taken away, not followed
    (tmp_path / "precious").write_text("")
    assert publisher.withdraw("t")
    assert (tmp_path / "precious").exists()
    publisher.path("t").write_text("a file in the way")
    assert publisher.withdraw("t")


def test_sweep_removes_what_the_dead_left(publisher: Publisher, tmp_path: Path):
    dead = _dead_pid()
    for name in (f".t.{dead}", f".t.{dead}.old", f".t.{os.getpid()}", ".t.x", "t.5", f".a.b.{dead}"):
        (tmp_path / "build" / name / "deep").mkdir(parents=True)
    publisher.sweep()
    assert sorted(os.listdir(tmp_path / "build")) == sorted([f".t.{os.getpid()}", ".t.x", "t.5"])


def _dead_pid() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid
