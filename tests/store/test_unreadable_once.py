"""A disk or a server that fails once costs nothing: what it did not give is read again before it counts as damaged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compressbuild.store import ActionResult, CorruptObject, Evicted, Hit, Store, cas
from compressbuild.store.fsck import verify
from compressbuild.store.gc import collect

Commit = Callable[..., ActionResult]
FILES = {"model": b"weights" * 20_000, "notes/note": b"n"}


class Disk:
    """Opening one path fails, or reading it; ``times``: how often."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.call, self.times = "", "open", 0
        for name in ("open", "read"):
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def fails(self, path: str, times: int, call: str = "open") -> None:
        self.path, self.times, self.call = path, times, call

    def _failing(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(where: Any, *rest: Any, **options: Any) -> Any:
            if self.times and name == self.call:
                path = os.fspath(where) if name == "open" else os.readlink(f"/proc/self/fd/{where}")
                if path == self.path:
                    self.times -= 1
                    raise OSError(errno.EIO, os.strerror(errno.EIO), *([path] if name == "open" else []))
            return plain(where, *rest, **options)

        return call


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def model(store: Store, result: ActionResult) -> str:
    """The path of the object of ``model``."""
    return store.dir.object(next(f.digest for f in store.cas.read_tree(result.output).files if f.path == "model"))


def unproven(store: Store) -> Store:
    """The same cache, opened by a process that has read nothing, and whose table is lost: it hashes every object."""
    store.close()
    (store.path / "verified").unlink(missing_ok=True)
    return Store(store.path, sync=False)


@pytest.mark.parametrize("what", ["file", "tree", "record"])
def test_a_lookup(store: Store, commit: Commit, disk: Disk, what: str) -> None:
    result = commit(store, "a", FILES)
    paths = {
        "file": model(store, result),
        "tree": store.dir.object(result.output),
        "record": store.dir.record(result.key),
    }
    with unproven(store) as again:
        disk.fails(paths[what], 1)
        assert again.lookup(result.key) == Hit(result)
    assert disk.times == 0, "the fault did not come to pass"
    assert store.dir.quarantined() == []


@pytest.mark.parametrize("call", ["open", "read"])
def test_what_is_written_out(store: Store, commit: Commit, disk: Disk, tmp_path: Path, call: str) -> None:
    """A file is read to be copied, although its stat says that it is sound."""
    result = commit(store, "a", FILES)
    disk.fails(model(store, result), 1, call)
    store.materialise(result.output, tmp_path / "out")
    assert disk.times == 0
    assert (tmp_path / "out/model").read_bytes() == FILES["model"]
    assert store.dir.quarantined() == []


@pytest.mark.parametrize("clean", [verify, collect])
@pytest.mark.parametrize("what", ["file", "tree", "record"])
def test_what_is_cleaned(store: Store, commit: Commit, disk: Disk, clean: Callable[[Store], object], what: str) -> None:
    """What gc cannot read is rubbish to it, and so is all that a tree lists."""
    result = commit(store, "a", FILES)
    paths = {
        "file": model(store, result),
        "tree": store.dir.object(result.output),
        "record": store.dir.record(result.key),
    }
    with unproven(store) as again:
        disk.fails(paths[what], 1)
        clean(again)
        assert disk.times == (clean is collect and what == "file"), "gc does not read files"
        disk.times = 0
        assert again.lookup(result.key) == Hit(result)


@pytest.mark.parametrize("times", [1, 1000])
def test_a_tree_that_nobody_may_even_look_at(
    store: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch, times: int, fine_clock: None
) -> None:
    """Once, or for good: it is read, or put aside."""
    result = commit(store, "a", FILES)
    left, plain = [times], os.lstat

    def refused(path: str, **options: Any) -> os.stat_result:
        if left[0] and path == store.dir.object(result.output):
            left[0] -= 1
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return plain(path, **options)

    monkeypatch.setattr(os, "lstat", refused)
    if times == 1:
        assert store.cas.read(result.output)
    else:
        with pytest.raises(CorruptObject, match="corrupt"):
            store.cas.read(result.output)
    assert len(store.dir.quarantined()) == (times > 1)


@pytest.mark.parametrize("call", ["open", "read"])
def test_a_bad_block_is_a_damaged_object(
    store: Store, commit: Commit, disk: Disk, tmp_path: Path, fine_clock: None, call: str
) -> None:
    """One that stays unreadable is put aside, even if its stat says that it is sound: else no build could go on."""
    result = commit(store, "a", FILES)
    disk.fails(path := model(store, result), 1000, call)
    with pytest.raises(CorruptObject, match="corrupt"):
        store.materialise(result.output, tmp_path / "out")
    assert not os.path.exists(path)
    assert not (tmp_path / "out").exists()
    assert not isinstance(store.lookup(result.key), (Hit, Evicted))


@pytest.mark.parametrize("way", ["check", "read"])
def test_another_process_has_replaced_a_damaged_object(
    store: Store, commit: Commit, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Two processes read it at once. The second to find it damaged must leave alone what the first has made of it."""
    result = commit(store, "a", FILES)
    path = Path(model(store, result))
    sound = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"rot" + sound[3:])
    name = "hash_object" if way == "check" else "read_regular"
    plain = getattr(cas, name)

    def slow(where: str) -> object:
        found = plain(where)
        if os.fspath(where) == str(path):
            monkeypatch.setattr(cas, name, plain)
            os.rename(path, store.path / "quarantine" / "by another")
            path.write_bytes(sound)
        return found

    monkeypatch.setattr(cas, name, slow)
    with unproven(store) as again:
        if way == "check":
            assert again.cas.check(path.name) is None
        else:
            assert again.cas.read(path.name) == sound
    assert path.read_bytes() == sound
    assert os.listdir(store.path / "quarantine") == ["by another"]
