"""Large caches: one object of many gigabytes, and a hundred thousand objects."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import forget_peak, peak
from sweeps import tries

from compressbuild.digest import digest_value
from compressbuild.store import Hit, Store
from compressbuild.store.fsck import verify
from compressbuild.store.gc import collect
from compressbuild.store.stats import measure

Record = Callable[[str, object], None]
GROWTH = 100 << 20
FILES = 10
"""Objects of one output, besides its tree."""


def commit(store: Store, name: object, directory: Path) -> None:
    store.commit(
        directory, key=digest_value(name), kind="k", label=str(name), seconds=1.0, peak_rss=0, facts={}, consume=True
    )


def a_large_artifact(root: Path, size: int, *, copied: bool) -> None:
    """A sparse file through commit, lookup, verification and eviction: memory does not grow with it."""
    forget_peak()
    before = peak()
    store = Store(root / "cache", sync=False)
    directory = store.scratch()
    with (directory / "weights").open("wb") as file:
        file.truncate(size)
    commit(store, "large", directory)
    found = store.lookup(digest_value("large"))
    assert isinstance(found, Hit)
    assert found.result.size >= size
    if copied:
        store.materialise(found.result.output, root / "out")
        assert (root / "out" / "weights").stat().st_size == size
    store.close()
    assert verify(store).clean
    assert measure(store).size >= size
    assert collect(store, max_size=size // 2).freed >= size
    assert peak() - before < GROWTH, f"{(peak() - before) >> 20} MB"


def test_a_large_artifact(tmp_path: Path) -> None:
    a_large_artifact(tmp_path, 256 << 20, copied=True)


@pytest.mark.slow
def test_an_artifact_of_20_gigabytes(tmp_path: Path, record_property: Record) -> None:
    record_property("tried", 1)
    a_large_artifact(tmp_path, 20 << 30, copied=False)


@pytest.mark.slow
def test_a_copy_of_20_gigabytes(tmp_path: Path, record_property: Record) -> None:
    """Of as many as a third of the free disk holds: a copy is not sparse."""
    size = min(20 << 30, shutil.disk_usage(tmp_path).free // 3)
    record_property("tried", 1)
    record_property("seed", f"{size / 1e9:.1f} GB")
    a_large_artifact(tmp_path, size, copied=True)
    shutil.rmtree(tmp_path / "out")


def filled(path: Path, objects: int) -> Store:
    store = Store(path, sync=False)
    for number in range(objects // (FILES + 1)):
        directory = store.scratch()
        for part in range(FILES):
            (directory / f"f{part}").write_bytes(b"%d %d" % (number, part))
        commit(store, number, directory)
        when = 1_000_000_000 + number
        os.utime(store.dir.record(digest_value(number)), (when, when))
    store.close()
    return store


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, the least of three times."""
    took = []
    for _ in range(3):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def costs(store: Store, objects: int) -> dict[str, float]:
    """What each command takes."""
    stats = measure(store)
    records = objects // (FILES + 1)
    assert (stats.objects, stats.records, stats.leftovers) == (records * (FILES + 1), records, 0)
    assert verify(store).clean
    took = {
        "stats": seconds(lambda: measure(store)),
        "verify": seconds(lambda: verify(store)),
        "gc": seconds(lambda: collect(store)),
    }
    began = time.process_time()
    report = collect(store, max_size=measure(store).size // 2)
    took["gc of a half"] = time.process_time() - began
    assert 0 < report.evicted < records
    assert verify(store).clean
    assert isinstance(store.lookup(digest_value(records - 1), touch=False), Hit), "what was used last goes last"
    return took


def many_objects(root: Path, objects: int, record: Record) -> None:
    """Ten times the objects may take thirty times as long: a quadratic command would take a hundred."""
    few = costs(filled(root / "few", objects // 10), objects // 10)
    forget_peak()
    before = peak()
    many = costs(filled(root / "many", objects), objects)
    record("tried", objects)
    for name, took in many.items():
        record(name, f"{took:.2f} s")
        print(f"{objects} objects: {name} {took:.3f} s, a tenth of them {few[name]:.3f} s")
        assert took < 30 * few[name] + 0.1, f"{name}: {few[name]:.3f} s, then {took:.3f} s"
    print(f"memory grew by {(peak() - before) >> 20} MB")
    assert peak() - before < 1 << 30


def test_many_objects(fast_path: Path, record_property: Record) -> None:
    many_objects(fast_path, 2000, record_property)


@pytest.mark.slow
def test_a_hundred_thousand_objects(fast_path: Path, record_property: Record) -> None:
    many_objects(fast_path, tries(100_000), record_property)
