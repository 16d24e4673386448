from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from compressbuild.digest import file_digest
from compressbuild.errors import StoreError
from compressbuild.store import CorruptObject, FileSystem, Problem, Store, Tree, TreeFile, cas, objects

Read = Callable[[Path], dict[str, bytes]]


def fill(directory: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def overwrite(path: str | Path, data: bytes) -> None:
    os.chmod(path, 0o644)
    Path(path).write_bytes(data)
    os.chmod(path, 0o444)


def put(store: Store, file: Path, *, consume: bool = False) -> tuple[str, int]:
    """Store one file, as a node's output that holds nothing else. Its digest and size."""
    folder = file.with_name(f"{file.name}.out")
    folder.mkdir()
    file.rename(folder / file.name)
    try:
        tree = store.cas.put_tree(folder, consume=consume)
    finally:
        if (folder / file.name).exists():
            (folder / file.name).rename(file)
        folder.rmdir()
    return tree.files[0].digest, tree.files[0].size


def test_a_file_is_stored_under_its_blake3(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"hello")
    digest = blake3(b"hello").hexdigest()
    assert put(store, tmp_path / "f") == (digest, 5)
    path = store.path / "cas" / digest[:2] / digest
    assert path.read_bytes() == b"hello"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.stat().st_ino != (tmp_path / "f").stat().st_ino
    inode = path.stat().st_ino
    assert put(store, tmp_path / "f") == (digest, 5)
    assert path.stat().st_ino == inode
    assert os.listdir(store.path / "tmp") == []


def test_the_trees_digest_is_the_objects(store: Store, tmp_path: Path) -> None:
    source = fill(tmp_path / "s", {"a/b": b"1", "c": b"22"})
    os.chmod(source / "c", 0o755)
    tree = store.cas.put_tree(source)
    assert tree == Tree(
        (TreeFile("a/b", blake3(b"1").hexdigest(), 1), TreeFile("c", blake3(b"22").hexdigest(), 2, True))
    )
    assert store.cas.read_tree(tree.digest) == tree
    assert Tree.decode((store.path / "cas" / tree.digest[:2] / tree.digest).read_bytes()) == tree
    assert source.exists()


def test_times_owners_and_order_do_not_count(store: Store, tmp_path: Path) -> None:
    one = store.cas.put_tree(fill(tmp_path / "1", {"a": b"1", "b": b"2"}))
    other = fill(tmp_path / "2", {"b": b"2", "a": b"1"})
    os.utime(other / "a", (1, 1))
    os.chmod(other / "b", 0o600)
    assert store.cas.put_tree(other).digest == one.digest
    os.chmod(other / "b", 0o700)
    assert store.cas.put_tree(other).digest != one.digest


def test_materialise_makes_what_was_stored(store: Store, tmp_path: Path, read: Read) -> None:
    source = fill(tmp_path / "s", {"a/b/c": b"1" * 70_000, "d": b"", "e": b"x"})
    (source / "empty" / "er").mkdir(parents=True)
    os.chmod(source / "e", 0o755)
    tree = store.cas.put_tree(source)
    for writable, modes in ((False, (0o444, 0o555)), (True, (0o644, 0o755))):
        out = tmp_path / "new" / str(writable)
        store.cas.materialise(tree.digest, out, writable=writable)
        assert read(out) == read(source)
        assert (out / "empty" / "er").is_dir()
        assert tuple(stat.S_IMODE((out / name).stat().st_mode) for name in ("d", "e")) == modes


def test_materialised_files_share_no_inode_with_the_store(store: Store, tmp_path: Path) -> None:
    """onnx refuses linked external data, and a user's write must not reach the cache."""
    tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1" * 100_000}))
    store.cas.materialise(tree.digest, tmp_path / "out", writable=True)
    made = (tmp_path / "out" / "a").lstat()
    assert stat.S_ISREG(made.st_mode)
    assert made.st_nlink == 1
    (tmp_path / "out" / "a").write_bytes(b"mine")
    assert store.cas.check_tree(tree.digest) == ()


def test_materialise_wants_a_new_directory(store: Store, tmp_path: Path) -> None:
    tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1"}))
    fill(tmp_path / "out", {"precious": b"!"})
    with pytest.raises(StoreError, match="already exists"):
        store.cas.materialise(tree.digest, tmp_path / "out")
    assert (tmp_path / "out" / "precious").read_bytes() == b"!"


DAMAGE = {
    "truncated": lambda path: overwrite(path, path.read_bytes()[:-1]),
    "grown": lambda path: overwrite(path, path.read_bytes() + b"!"),
    "flipped": lambda path: overwrite(path, bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "emptied": lambda path: overwrite(path, b""),
    "linked": lambda path: (path.rename(path.parent / "x"), path.symlink_to(path.parent / "x")),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("what", ["file", "tree"])
@pytest.mark.parametrize("reopened", [False, True])
def test_damage_is_found_quarantined_and_mended(
    cache: Path, tmp_path: Path, fine_clock: None, read: Read, how: str, what: str, reopened: bool
) -> None:
    store = Store(cache, sync=False)
    source = fill(tmp_path / "s", {"a": b"weights", "b": b"other"})
    tree = store.cas.put_tree(source)
    if reopened:
        store.close()
        store = Store(cache, sync=False)
        assert store.cas.check_tree(tree.digest) == ()
    digest = tree.files[0].digest if what == "file" else tree.digest
    path = cache / "cas" / digest[:2] / digest
    DAMAGE[how](path)
    expected = Problem(digest, "missing" if how == "deleted" else "corrupt")
    assert store.cas.check_tree(tree.digest) == (expected,)
    assert not os.path.lexists(path)
    assert len(os.listdir(cache / "quarantine")) == (how != "deleted")
    assert store.cas.check_tree(tree.digest) == (Problem(digest, "missing"),)
    assert store.cas.put_tree(source).digest == tree.digest
    assert store.cas.check_tree(tree.digest) == ()
    store.cas.materialise(tree.digest, tmp_path / "out")
    assert read(tmp_path / "out") == read(source)
    store.close()


@pytest.mark.parametrize("how", [how for how in DAMAGE if how != "linked"])
def test_materialise_hands_out_no_damaged_bytes(store: Store, tmp_path: Path, how: str) -> None:
    """Even where nothing looked at the stat: what was written is hashed."""
    tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"fine", "z": b"weights"}))
    digest = tree.files[1].digest
    DAMAGE[how](store.path / "cas" / digest[:2] / digest)
    with pytest.raises(CorruptObject, match=digest) as error:
        store.cas.materialise(tree.digest, tmp_path / "out")
    assert error.value.digest == digest
    assert error.value.reason == ("missing" if how == "deleted" else "corrupt")
    assert not (tmp_path / "out").exists()
    assert store.cas.check(digest) == Problem(digest, "missing")


def test_putting_again_replaces_a_damaged_object(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"good")
    digest, _ = put(store, tmp_path / "f")
    path = store.path / "cas" / digest[:2] / digest
    overwrite(path, b"evil")
    put(store, tmp_path / "f")
    assert path.read_bytes() == b"good"


def test_checking_costs_no_reading_while_the_stat_holds(
    cache: Path, tmp_path: Path, fine_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(cache, sync=False) as store:
        tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1", "b": b"2"}))
    hashed: list[str] = []
    monkeypatch.setattr(objects, "file_digest", lambda path: hashed.append(path) or file_digest(path))
    with Store(cache, sync=False) as store:
        assert store.cas.check_tree(tree.digest) == ()
    assert hashed == []
    os.utime(cache / "cas" / tree.files[0].digest[:2] / tree.files[0].digest)
    for _ in range(2):  # after a matching hash the new stat is remembered
        with Store(cache, sync=False) as store:
            assert store.cas.check_tree(tree.digest) == ()
    assert len(hashed) == 1


def test_an_object_as_young_as_its_check_is_hashed_once_more(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(cache, sync=False) as store:
        tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1"}))
    hashed: list[str] = []
    monkeypatch.setattr(objects, "file_digest", lambda path: hashed.append(path) or file_digest(path))
    monkeypatch.setattr(cas.time, "time_ns", lambda: 1 << 62)
    for _ in range(3):
        with Store(cache, sync=False) as store:
            assert store.cas.check_tree(tree.digest) == ()
    assert len(hashed) == 2


def test_a_lost_or_damaged_table_costs_hashing_only(cache: Path, tmp_path: Path) -> None:
    with Store(cache, sync=False) as store:
        tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1"}))
    for data in (b"", b"garbage", (cache / "verified").read_bytes()[:-1]):
        (cache / "verified").write_bytes(data)
        with Store(cache, sync=False) as store:
            assert store.cas.check_tree(tree.digest) == ()


def test_two_stores_keep_each_others_verifications(cache: Path, tmp_path: Path) -> None:
    one, two = Store(cache, sync=False), Store(cache, sync=False)
    first = one.cas.put_tree(fill(tmp_path / "1", {"a": b"1"}))
    second = two.cas.put_tree(fill(tmp_path / "2", {"a": b"2"}))
    assert one.cas.check_tree(first.digest) == two.cas.check_tree(second.digest) == ()
    one.close()
    two.close()
    entries = Store(cache).cas.verified._entries
    assert {first.digest, second.digest} <= entries.keys()


def test_a_hostile_tree_writes_nothing_outside(store: Store, tmp_path: Path) -> None:
    """A shared cache may hold anything: a well-hashed object is still no well-meaning one."""
    evil = store.cas.put_bytes(b"#!/bin/sh\n")
    body = b'compressbuild-tree 1\n{"files":[["../../escaped","%b",10,true]],"empty":[]}' % evil.encode()
    digest = store.cas.put_bytes(body)
    assert store.cas.check_tree(digest) == (Problem(digest, "corrupt"),)
    digest = store.cas.put_bytes(body)
    with pytest.raises(CorruptObject):
        store.cas.materialise(digest, tmp_path / "deep" / "er")
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "deep").exists()


def test_a_wrong_size_in_a_tree_is_no_output(store: Store, tmp_path: Path) -> None:
    evil = store.cas.put_bytes(b"four")
    digest = store.cas.put_bytes(b'compressbuild-tree 1\n{"files":[["a","%b",5,false]],"empty":[]}' % evil.encode())
    with pytest.raises(CorruptObject):
        store.cas.materialise(digest, tmp_path / "out")


@pytest.mark.parametrize("name", ["", "x", "../../../etc/passwd", "0" * 63, "0" * 65, "A" * 64])
def test_only_digests_name_objects(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        store.cas.check(name)
    with pytest.raises(ValueError, match="not a digest"):
        store.lookup(name)


def test_links_and_special_files_are_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "l").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match=r"'l' .* is a symbolic link"):
        store.cas.put_tree(tmp_path / "s")
    with pytest.raises(StoreError, match=r"cannot store .*No such file"):
        store.cas.put_tree(tmp_path / "missing")


def test_consuming_moves_the_file(store: Store, tmp_path: Path) -> None:
    scratch = store.scratch()
    (scratch / "f").write_bytes(b"x" * 1000)
    inode = (scratch / "f").stat().st_ino
    digest, size = put(store, scratch / "f", consume=True)
    path = store.path / "cas" / digest[:2] / digest
    assert (path.stat().st_ino, path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (inode, size, 0o444)
    assert not (scratch / "f").exists()


def test_a_file_with_another_name_is_copied_not_moved(store: Store) -> None:
    """Whoever holds the other name could write to the object."""
    scratch = store.scratch()
    (scratch / "f").write_bytes(b"x")
    os.link(scratch / "f", scratch / "g")
    digest, _ = put(store, scratch / "f", consume=True)
    (scratch / "g").write_bytes(b"y")
    assert store.cas.check(digest) is None


def test_a_file_written_to_while_it_is_moved_in_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = store.scratch()
    (scratch / "f").write_bytes(b"before")

    def and_then_write(path: str) -> str:
        digest = file_digest(path)
        Path(path).write_bytes(b"after!")
        os.utime(path, ns=(0, 0))
        return digest

    monkeypatch.setattr(cas, "file_digest", and_then_write)
    with pytest.raises(StoreError, match="written to while"):
        put(store, scratch / "f", consume=True)
    monkeypatch.undo()
    assert store.cas.check(blake3(b"before").hexdigest()) == Problem(blake3(b"before").hexdigest(), "missing")


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY])
def test_without_reflinks_files_are_copied(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    from compressbuild.store import fs

    asked: list[int] = []

    def refuse(fd: int, request: int, argument: int) -> None:
        asked.append(request)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fs.fcntl, "ioctl", refuse)
    data = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(data)
    digest, _ = put(store, tmp_path / "f")
    assert digest == blake3(data).hexdigest()
    assert asked == [0x40049409]


def test_with_reflinks_what_arrived_is_hashed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for FICLONE, right or wrong: the clone's own bytes decide."""
    from compressbuild.store import fs

    wrong = False

    def clone(dst: int, request: int, src: int) -> None:
        data = os.pread(src, 1 << 20, 0)
        os.pwrite(dst, b"!" + data[1:] if wrong else data, 0)

    monkeypatch.setattr(fs.fcntl, "ioctl", clone)
    tree = store.cas.put_tree(fill(tmp_path / "s", {"a": b"1" * 100_000}))
    store.cas.materialise(tree.digest, tmp_path / "good")
    assert (tmp_path / "good" / "a").read_bytes() == b"1" * 100_000
    wrong = True
    with pytest.raises(CorruptObject):
        store.cas.materialise(tree.digest, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()


class Overtaken(FileSystem):
    """Another process puts an object of its own (a bad one) in the same place a moment later."""

    def rename(self, source: str, path: str) -> None:
        super().rename(source, path)
        if "/cas/" in path:
            Path(source).write_bytes(b"theirs")
            super().rename(source, path)


def test_only_the_file_that_was_hashed_counts_as_verified(cache: Path, tmp_path: Path, fine_clock: None) -> None:
    (tmp_path / "f").write_bytes(b"mine!!")
    with Store(cache, sync=False, fs=Overtaken()) as store:
        digest, _ = put(store, tmp_path / "f")
        assert store.cas.check(digest) == Problem(digest, "corrupt")


class Failing(FileSystem):
    broken = False

    def sync_dir(self, path: str) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        super().sync_dir(path)


def test_what_could_not_be_synced_is_not_remembered_as_durable(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    fs = Failing()
    store = Store(cache, fs=fs)
    digest, _ = put(store, tmp_path / "f")
    fs.broken = True
    with pytest.raises(StoreError, match="Input/output error"):
        store.close()
    assert not Store(cache).cas.verified.is_durable(digest)
    fs.broken = False
    store.close()
    assert Store(cache).cas.verified.is_durable(digest)
