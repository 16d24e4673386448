"""The store's promise, at every point at which it can be interrupted.

A record is a hit only with the right bytes; what a commit returned for stays; fsck finds nothing but leftovers.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_fs import Crash, FaultyFileSystem, LossyFileSystem

from compressbuild.digest import digest_value
from compressbuild.errors import StoreError
from compressbuild.store import Evicted, FileSystem, Hit, Store
from compressbuild.store.fsck import verify
from compressbuild.store.gc import collect

OUTPUTS: dict[str, dict[str, bytes]] = {
    "a": {"model": b"A" * 3000, "common": b"common" * 50},
    "b": {"common": b"common" * 50, "deep/b": b"B"},
    "c": {"model": b"C" * 2000},
    "d": {"model": b"D" * 100, "other": b"d"},
    "e": {"common": b"common" * 50},
    "a2": {"model": b"A" * 3000, "common": b"common" * 50},
}


def commit(store: Store, name: str, done: list[str], *, consume: bool = True) -> None:
    """Into a directory made behind the faulty file system's back, as a worker would."""
    directory = Path(store.dir.temporary())
    for path, data in OUTPUTS[name].items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    key = digest_value(name)
    facts = {"kind": "k", "label": name, "seconds": 1.0, "peak_rss": 0, "facts": {}}
    store.commit(directory, key=key, consume=consume, **facts)  # type: ignore[arg-type]
    done.append(name)


def commits(store: Store, done: list[str]) -> None:
    commit(store, "a", done)
    commit(store, "b", done, consume=False)


def commit_again_after_eviction(store: Store, done: list[str]) -> None:
    commit(store, "a", [])
    store.close()
    collect(store, max_size=0)
    commit(store, "a", done)
    commit(store, "b", done)


def collection(store: Store, done: list[str]) -> None:
    for name in "abc":
        commit(store, name, [])
        os.utime(store.dir.record(digest_value(name)), (ord(name), ord(name)))
    store.close()
    collect(store, max_size=3500, max_age=None)
    collect(store, max_age=1.0, keep=[digest_value("c")])


def batch(store: Store, done: list[str]) -> None:
    with store.batch():
        for name in "abd":
            commit(store, name, [])
    done += "abd"
    commit(store, "e", done)


def damage_and_mend(store: Store, done: list[str]) -> None:
    commit(store, "a", [])
    for file in store.cas.read_tree(store.ac.get(digest_value("a")).output).files:  # type: ignore[union-attr]
        os.truncate(store.dir.object(file.digest), 1)
    store.lookup(digest_value("a"))
    commit(store, "a2", done)
    store.close()
    verify(store)


SCENARIOS: list[Callable[[Store, list[str]], None]] = [
    commits,
    commit_again_after_eviction,
    collection,
    batch,
    damage_and_mend,
]
DAMAGE = {"corrupt-object", "damaged-record"}  # what the scenario itself does
scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)


def operations(scenario: Callable[[Store, list[str]], None], path: Path) -> int:
    fs = FaultyFileSystem(None, Crash)
    with Store(path, fs=fs) as store:
        scenario(store, [])
    return fs.count


def play(scenario: Callable[[Store, list[str]], None], cache: Path, fs: FileSystem) -> list[str]:
    """Run until it ends or crashes; the commits that had returned."""
    done: list[str] = []
    store = None
    try:
        store = Store(cache, fs=fs)
        scenario(store, done)
        store.close()
    except Crash:
        if store is not None and store._use is not None:
            store._use.release()  # as the kernel does for the dead
    return done


def assert_promise_kept(cache: Path, out: Path, done: list[str], *, tolerated: set[str]) -> None:
    with Store(cache, sync=False) as store:
        for name, files in OUTPUTS.items():
            found = store.lookup(digest_value(name))
            if isinstance(found, Hit):
                store.materialise(found.result.output, out / name)
                got = {str(p.relative_to(out / name)): p.read_bytes() for p in (out / name).rglob("*") if p.is_file()}
                assert got == files, name
            assert name not in done or isinstance(found, Hit), f"{name} was committed, and is {found}"
    kinds = {finding.kind for finding in verify(store).findings}
    assert kinds <= {"leftover"} | tolerated
    assert verify(store).findings == ()
    with Store(cache, sync=False) as store:  # and life goes on
        for name in OUTPUTS:
            commit(store, name, [])
            assert isinstance(store.lookup(digest_value(name)), Hit)
    assert verify(store).clean


@scenarios
def test_a_process_killed_at_any_operation_does_no_harm(
    fast_path: Path, scenario: Callable[[Store, list[str]], None]
) -> None:
    for at in range(operations(scenario, fast_path / "count")):
        cache = fast_path / f"kill-{at}"
        done = play(scenario, cache, FaultyFileSystem(at, Crash))
        tolerated = DAMAGE if scenario is damage_and_mend else set()
        assert_promise_kept(cache, fast_path / f"out-{at}", done, tolerated=tolerated)


@scenarios
def test_a_power_failure_at_any_operation_loses_nothing_that_was_committed(
    fast_path: Path, scenario: Callable[[Store, list[str]], None]
) -> None:
    """Unsynced objects may be torn where no record leads to them: a batch's, and those that gc was removing."""
    for at in range(operations(scenario, fast_path / "count")):
        for seed in range(2):
            cache = fast_path / f"power-{at}-{seed}"
            fs = LossyFileSystem(at)
            done = play(scenario, cache, fs)
            fs.power_failure(seed)
            if not (cache / "version").exists():  # the cache itself was not there yet
                assert done == []
            tolerated = DAMAGE if scenario is damage_and_mend else {"corrupt-object"} if scenario is batch else set()
            assert_promise_kept(cache, fast_path / f"out-{at}-{seed}", done, tolerated=tolerated)


@scenarios
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES], ids=lambda code: errno.errorcode[code])
def test_a_failing_operation_is_a_store_error_and_the_store_goes_on(
    fast_path: Path, scenario: Callable[[Store, list[str]], None], code: int
) -> None:
    failed = 0
    for at in range(operations(scenario, fast_path / "count")):
        cache = fast_path / f"error-{at}"
        done: list[str] = []
        fs = FaultyFileSystem(at, lambda: OSError(code, os.strerror(code)))
        try:
            with Store(cache, fs=fs) as store:
                scenario(store, done)
        except StoreError as error:
            failed += os.strerror(code) in str(error) and bool(error.hint)
        tolerated = DAMAGE if scenario is damage_and_mend else set()
        assert_promise_kept(cache, fast_path / f"out-{at}", done, tolerated=tolerated)
    assert failed > 10


def test_materialising_is_all_or_nothing_at_any_operation(fast_path: Path) -> None:
    cache = fast_path / "cache"
    with Store(cache, sync=False) as store:
        commit(store, "a", [])
        output = store.ac.get(digest_value("a")).output  # type: ignore[union-attr]
        counting = FaultyFileSystem(None, Crash)
        with Store(cache, fs=counting) as counted:
            counted.materialise(output, fast_path / "whole")
    failed = 0
    for at in range(counting.count):
        fs = FaultyFileSystem(at, lambda: OSError(errno.ENOSPC, "full"))
        with Store(cache, fs=fs) as store:
            try:
                store.materialise(output, fast_path / f"out-{at}")
            except StoreError:
                failed += 1
                assert not (fast_path / f"out-{at}").exists()
            else:
                assert (fast_path / f"out-{at}" / "model").read_bytes() == OUTPUTS["a"]["model"]
    assert failed >= 3


def test_the_test_can_fail(fast_path: Path) -> None:
    """A store that does not sync loses commits in a power failure: the model above sees it."""
    lost = 0
    for seed in range(10):
        fs, done = LossyFileSystem(None), list[str]()
        cache = fast_path / str(seed)
        with Store(cache, sync=False, fs=fs) as store:
            commit(store, "a", done)
        fs.power_failure(seed)
        with Store(cache, sync=False) as store:
            lost += not isinstance(store.lookup(digest_value("a")), Hit | Evicted)
    assert lost >= 5
