from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.digest import digest_value
from compressbuild.errors import StoreError
from compressbuild.store import ActionResult, Damaged, FileSystem, Hit, Store
from compressbuild.store.fs import Pace

Commit = Callable[..., ActionResult]
Read = Callable[[Path], dict[str, bytes]]


def test_a_commit_is_found_again(cache: Path, tmp_path: Path, commit: Commit, read: Read) -> None:
    files = {"model.onnx": b"graph", "data/w.bin": b"1" * 5000}
    with Store(cache) as store:
        assert store.lookup(digest_value("a")) is None
        result = commit(store, "a", files)
        assert store.lookup(digest_value("a")) == Hit(result)
    with Store(cache) as store:
        assert store.lookup(digest_value("a")) == Hit(result)
        store.materialise(result.output, tmp_path / "out")
    assert read(tmp_path / "out") == files
    assert (result.kind, result.label, result.size, result.seconds) == ("onnx", "a", 5005, 1.5)
    assert (result.peak_rss, result.facts, result.evicted) == (1 << 20, {"nodes": 3}, False)


def test_consuming_leaves_nothing_behind_and_copying_everything(store: Store, commit: Commit, tmp_path: Path) -> None:
    commit(store, "a", {"x": b"1", "d/y": b"2"}, consume=True)
    assert os.listdir(store.path / "tmp") == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_bytes(b"3")
    store.commit(tmp_path / "mine", key=digest_value("b"), kind="k", label="b", seconds=0, peak_rss=0, facts={})
    assert (tmp_path / "mine" / "x").read_bytes() == b"3"
    assert os.access(tmp_path / "mine" / "x", os.W_OK)


def test_an_empty_output_is_an_output(store: Store, commit: Commit, tmp_path: Path) -> None:
    result = commit(store, "a", {})
    store.materialise(result.output, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_a_failed_commit_leaves_no_record(store: Store) -> None:
    scratch = store.scratch()
    (scratch / "ok").write_bytes(b"1")
    (scratch / "link").symlink_to("ok")
    with pytest.raises(StoreError, match="symbolic link"):
        store.commit(scratch, key=digest_value("a"), kind="k", label="a", seconds=0, peak_rss=0, facts={})
    with pytest.raises(TypeError):
        store.commit(scratch, key=digest_value("a"), kind="k", label="a", seconds=0, peak_rss=0, facts={"x": object()})
    assert store.lookup(digest_value("a")) is None


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "grown", "renamed", "directory"])
def test_a_bad_record_is_quarantined_and_a_miss(store: Store, commit: Commit, how: str) -> None:
    commit(store, "a", {"x": b"1"})
    path = Path(store.dir.record(digest_value("a")))
    data = path.read_bytes()
    path.unlink()
    if how == "directory":
        path.mkdir()
        assert store.lookup(digest_value("a")) is None
        assert len(os.listdir(store.dir.root + "/quarantine")) == 1
        return
    if how == "renamed":  # a good record of another key
        commit(store, "b", {"x": b"2"})
        data = Path(store.dir.record(digest_value("b"))).read_bytes()
    path.write_bytes(
        {
            "truncated": data[:-1],
            "flipped": data.replace(b'"onnx"', b'"evil"'),
            "emptied": b"",
            "grown": data + b" ",
            "renamed": data,
        }[how]
    )
    assert store.lookup(digest_value("a")) is None
    assert not path.exists()
    assert len(os.listdir(store.path / "quarantine")) == 1
    result = commit(store, "a", {"x": b"1"})
    assert store.lookup(digest_value("a")) == Hit(result)


@pytest.mark.parametrize("how", ["deleted", "truncated", "flipped"])
def test_a_damaged_output_is_told_and_mended_by_building_again(store: Store, commit: Commit, how: str) -> None:
    result = commit(store, "a", {"x": b"weights", "y": b"more"})
    path = Path(store.dir.object(store.cas.read_tree(result.output).files[0].digest))
    path.chmod(0o644)
    match how:
        case "deleted":
            path.unlink()
        case "truncated":
            os.truncate(path, 3)
        case "flipped":
            path.write_bytes(b"Weights")
    found = store.lookup(digest_value("a"))
    assert isinstance(found, Damaged)
    assert found.result == result
    assert found.reason == f"object {path.name} is {'missing' if how == 'deleted' else 'corrupt'}"
    again = commit(store, "a", {"x": b"weights", "y": b"more"})
    assert again.output == result.output
    assert store.lookup(digest_value("a")) == Hit(again)


def test_the_cache_can_be_moved_and_copied(cache: Path, tmp_path: Path, commit: Commit, read: Read) -> None:
    with Store(cache, sync=False) as store:
        results = [commit(store, i, {"x": b"%d" % i}) for i in range(3)]
    blobs = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in blobs
    moved, copied = tmp_path / "moved", tmp_path / "deep" / "copied"
    cache.rename(moved)
    shutil.copytree(moved, copied)
    for place in (moved, copied):
        with Store(place) as store:
            assert [store.lookup(digest_value(i)) for i in range(3)] == [Hit(result) for result in results]
            store.materialise(results[2].output, tmp_path / f"out-{place.name}")
        assert read(tmp_path / f"out-{place.name}") == {"x": b"2"}


def test_the_directory_is_tagged_and_versioned(cache: Path) -> None:
    Store(cache)
    assert (cache / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (cache / "version").read_bytes() == b"1\n"
    (cache / "version").write_bytes(b"2\n")
    with pytest.raises(StoreError, match="has version 2, and this compressbuild knows version 1") as error:
        Store(cache)
    assert "upgrade compressbuild" in str(error.value.hint)
    (cache / "version").write_bytes(b"")
    with pytest.raises(StoreError, match="an empty file"):
        Store(cache)


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home" / "tmp").mkdir(parents=True)
    (tmp_path / "home" / "thesis.tex").write_bytes(b"!")
    with pytest.raises(StoreError, match=r"is not a cache, and not empty \(it holds 'thesis.tex'\)"):
        Store(tmp_path / "home")
    assert sorted(os.listdir(tmp_path / "home")) == ["thesis.tex", "tmp"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot open the cache"):
        Store(tmp_path / "file")


def test_a_committed_placeholder_becomes_a_cache(cache: Path) -> None:
    """A repository may hold the empty directory: a tag and a .gitignore."""
    cache.mkdir()
    (cache / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n# mine\n")
    (cache / ".gitignore").write_bytes(b"*\n")
    Store(cache)
    assert (cache / "CACHEDIR.TAG").read_bytes().endswith(b"# mine\n")


def test_a_batch_is_seen_by_its_store_at_once_and_by_others_at_its_end(cache: Path, commit: Commit) -> None:
    with Store(cache) as store, Store(cache) as other:
        with store.batch():
            results = [commit(store, i, {"x": b"%d" % (i // 2)}) for i in range(80)]
            assert store.lookup(digest_value(7)) == Hit(results[7])
            assert other.lookup(digest_value(7)) is None
            store.flush()
            assert other.lookup(digest_value(7)) == Hit(results[7])
            late = commit(store, "late", {"x": b"z"})
        assert other.lookup(digest_value("late")) == Hit(late)


def test_what_was_committed_in_a_failing_batch_is_kept(cache: Path, commit: Commit) -> None:
    with Store(cache) as store:
        with pytest.raises(ZeroDivisionError), store.batch():
            result = commit(store, "a", {"x": b"1"})
            _ = 1 // 0
    assert Store(cache).lookup(digest_value("a")) == Hit(result)


class Recording(FileSystem):
    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []

    def rename(self, source: str, path: str) -> None:
        super().rename(source, path)
        self.log.append(("rename", path))

    def sync_file(self, path: str) -> None:
        self.log.append(("sync", path))
        super().sync_file(path)

    def sync_dir(self, path: str) -> None:
        self.log.append(("sync", path))
        super().sync_dir(path)

    def sync_all(self, path: str) -> bool:
        self.log.append(("sync", "all"))
        return super().sync_all(path)


def test_all_objects_and_their_names_are_synced_before_the_record_appears(cache: Path, commit: Commit) -> None:
    fs = Recording()
    with Store(cache, fs=fs) as store:
        fs.log.clear()
        commit(store, "a", {"x": b"1", "y": b"2"})
        renamed = [path for what, path in fs.log if what == "rename"]
        record = store.dir.record(digest_value("a"))
        assert renamed[-1] == record
        position = fs.log.index(("rename", record))
        synced = {path for what, path in fs.log[:position] if what == "sync"}
        assert {os.path.dirname(path) for path in renamed[:-1]} <= synced
        assert f"{store.dir.root}/cas" in synced
        assert ("sync", os.path.dirname(record)) in fs.log[position:]


def test_a_big_batch_syncs_a_few_times_only(cache: Path, commit: Commit) -> None:
    fs = Recording()
    with Store(cache, fs=fs) as store:
        store.dir.queue.pace = Pace()  # what opening it took on a busy disk decides nothing here
        fs.log.clear()
        with store.batch():
            for i in range(100):
                commit(store, i, {"x": b"%d" % i})
    syncs = [path for what, path in fs.log if what == "sync"]
    assert syncs == ["all", "all"]
    first = fs.log.index(("sync", "all"))
    assert all("/cache/ac/" not in path for _, path in fs.log[:first])


def test_an_object_that_another_process_has_not_synced_is_synced(cache: Path, commit: Commit) -> None:
    with Store(cache, sync=False) as careless:
        commit(careless, "a", {"x": b"shared"})
    fs = Recording()
    with Store(cache, fs=fs) as store:
        result = commit(store, "b", {"x": b"shared"})
        synced = {path for what, path in fs.log if what == "sync"}
        shared = store.cas.read_tree(result.output).files[0].digest
        assert {store.dir.object(shared), store.dir.object(result.output)} <= synced
        fs.log.clear()
        commit(store, "c", {"x": b"shared"})
        assert not any("/cas/" in path for _, path in fs.log)


def test_without_sync_nothing_is_synced(cache: Path, commit: Commit) -> None:
    fs = Recording()
    with Store(cache, sync=False, fs=fs) as store:
        commit(store, "a", {"x": b"1"})
    assert {what for what, _ in fs.log} == {"rename"}


class Full(FileSystem):
    full = False

    def write(self, path: str, data: bytes, mode: int = 0o444) -> None:
        if self.full:
            super().write(path, data[: len(data) // 2], mode)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        super().write(path, data, mode)


def test_a_full_disk_is_an_error_with_a_hint_and_no_litter(cache: Path, commit: Commit) -> None:
    fs = Full()
    with Store(cache, fs=fs) as store:
        fs.full = True
        with pytest.raises(StoreError, match="No space left on device") as error:
            commit(store, "a", {"x": b"1"})
        assert "cbuild cache gc" in str(error.value.hint)
        fs.full = False
        assert len(os.listdir(cache / "tmp")) == 1  # the node's own directory
        assert store.lookup(digest_value("a")) is None
        result = commit(store, "a", {"x": b"1"})
        assert store.lookup(digest_value("a")) == Hit(result)


class ReadOnly(FileSystem):
    def _no(self, *_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    write = rename = remove = set_used = set_mode = make_dir = _no  # type: ignore[assignment]


def test_a_read_only_cache_serves(cache: Path, commit: Commit) -> None:
    with Store(cache, sync=False) as store:
        result = commit(store, "a", {"x": b"1"})
    (cache / "verified").unlink()
    with Store(cache, fs=ReadOnly()) as store:
        assert store.lookup(digest_value("a")) == Hit(result)


def test_two_processes_may_commit_the_same_at_once(cache: Path) -> None:
    code = """
import sys
from pathlib import Path
from compressbuild.digest import digest_value
from compressbuild.store import Hit, Store
with Store(Path(sys.argv[1])) as store:
    for i in range(40):
        out = store.scratch()
        (out / "x").write_bytes(b"%d" % (i % 10))
        (out / "y").write_bytes(b"same")
        store.commit(out, key=digest_value(i), kind="k", label="l", seconds=0, peak_rss=0, facts={}, consume=True)
        assert isinstance(store.lookup(digest_value(i)), Hit), i
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(cache)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with Store(cache) as store:
        assert all(isinstance(store.lookup(digest_value(i)), Hit) for i in range(40))
    assert os.listdir(cache / "tmp") == os.listdir(cache / "quarantine") == []


def test_threads_may_share_a_store(cache: Path, commit: Commit) -> None:
    errors: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for i in range(start, start + 25):
                commit(store, i, {"x": b"%d" % (i % 7), "y": b"%d" % i})
                assert isinstance(store.lookup(digest_value(i)), Hit)
        except BaseException as error:  # noqa: BLE001  a thread's border
            errors.append(error)

    with Store(cache) as store:
        threads = [threading.Thread(target=work, args=(start,)) for start in (0, 25, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert errors == []


def test_a_use_is_noted_once(cache: Path, commit: Commit) -> None:
    with Store(cache, sync=False) as store:
        commit(store, "a", {"x": b"1"})
        path = Path(store.dir.record(digest_value("a")))
        os.utime(path, (1000, 1000))
        store.lookup(digest_value("a"), touch=False)
        assert path.stat().st_mtime == 1000
        store.lookup(digest_value("a"))
        assert path.stat().st_mtime > 10**9
        os.utime(path, (1000, 1000))
        store.lookup(digest_value("a"))
        assert path.stat().st_mtime == 1000


def test_importing_the_store_is_cheap() -> None:
    code = "import sys, compressbuild.store, compressbuild.digest; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    )
    heavy = {"asyncio", "multiprocessing", "subprocess", "tempfile", "shutil", "json", "sqlite3", "logging", "ctypes"}
    assert not loaded & (heavy | {"networkx", "yaml", "rich", "click", "numpy", "torch", "importlib.metadata"})


class Interrupted(FileSystem):
    """A signal comes before the table of verified objects has its name."""

    def rename(self, source: str, path: str) -> None:
        if path.endswith("/verified"):
            raise KeyboardInterrupt
        super().rename(source, path)


def test_a_signal_while_the_tables_are_saved_leaves_nothing(cache: Path, commit: Commit) -> None:
    store = Store(cache, fs=Interrupted())
    commit(store, "a", {"x": b"1"})
    with pytest.raises(KeyboardInterrupt):
        store.close()
    assert list((cache / "tmp").iterdir()) == []
