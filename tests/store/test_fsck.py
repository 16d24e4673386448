from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.digest import digest_value
from compressbuild.errors import StoreError
from compressbuild.store import ActionResult, Evicted, Hit, Store
from compressbuild.store.fsck import FsckReport, verify
from compressbuild.store.gc import collect
from compressbuild.store.stats import KindStats, measure

Commit = Callable[..., ActionResult]


def kinds(report: FsckReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def overwrite(path: str, data: bytes) -> None:
    """Change bytes as a failing disk does: the stat stays as it was, but for the ctime."""
    st = os.stat(path)
    os.chmod(path, 0o644)
    Path(path).write_bytes(data)
    os.chmod(path, 0o444)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


@pytest.fixture
def filled(cache: Path, commit: Commit) -> Store:
    store = Store(cache, sync=False)
    for name in "abc":
        commit(store, name, {"own": name.encode() * 10, "shared": b"shared"})
    store.close()
    return store


def test_a_sound_store_is_clean(filled: Store) -> None:
    report = verify(filled)
    assert report == FsckReport(objects=7, records=3, size=report.size, findings=())
    assert report.clean
    assert verify(filled, repair=False) == report


def test_everything_bad_is_found_and_mended(filled: Store) -> None:
    a, b, c = (filled.ac.get(digest_value(name)) for name in "abc")
    assert a is not None
    assert b is not None
    assert c is not None
    overwrite(filled.dir.object(filled.cas.read_tree(a.output).files[0].digest), b"A" * 10)
    os.unlink(filled.dir.object(b.output))
    Path(filled.dir.record(c.key)).write_bytes(b"compressbuild-action-1 ?")
    (filled.path / "cas" / "zz").mkdir()
    (filled.path / "cas" / "zz" / "notes.txt").write_bytes(b"?")
    filled.scratch()
    filled.close()
    expected = ["stray-file", "corrupt-object", "bad-record", "damaged-record", "damaged-record", "leftover"]
    looked = verify(filled, repair=False)
    assert sorted(kinds(looked)) == sorted(expected)
    assert not looked.clean
    assert verify(filled, repair=False) == looked  # looking changes nothing
    assert verify(filled) == looked
    assert verify(filled).findings == ()
    assert len(os.listdir(filled.path / "quarantine")) == 3
    # Records of lost outputs still tell their digest, so what was built from them stays cached.
    for old in (a, b):
        found = filled.lookup(old.key)
        assert isinstance(found, Evicted)
        assert found.result.output == old.output
    assert filled.lookup(c.key) is None


def test_damage_to_shared_objects_damages_all_their_users(filled: Store) -> None:
    result = filled.ac.get(digest_value("a"))
    assert result is not None
    shared = filled.cas.read_tree(result.output).files[1]
    assert shared.path == "shared"
    overwrite(filled.dir.object(shared.digest), b"Shared")
    report = verify(filled)
    assert kinds(report) == ["corrupt-object"] + ["damaged-record"] * 3
    assert all(f"shared ({shared.digest}) is missing or corrupt" in f.detail for f in report.findings[1:])


def test_the_stat_is_not_believed(filled: Store, fine_clock: None) -> None:
    result = filled.ac.get(digest_value("a"))
    assert result is not None
    digest = filled.cas.read_tree(result.output).files[0].digest
    path = filled.dir.object(digest)
    overwrite(path, b"A" * 10)
    filled.cas.verified.add(digest, os.lstat(path), 1 << 62, durable=True)  # a table that lies
    assert isinstance(filled.lookup(digest_value("a")), Hit)
    assert kinds(verify(filled)) == ["corrupt-object", "damaged-record"]


def test_a_tree_with_a_wrong_size_is_damage(filled: Store, commit: Commit) -> None:
    four = filled.cas.put_bytes(b"four")
    tree = filled.cas.put_bytes(b'compressbuild-tree 1\n{"files":[["a","%b",5,false]],"empty":[]}' % four.encode())
    filled.ac.put(
        ActionResult(
            key=digest_value("z"),
            output=tree,
            kind="k",
            label="z",
            size=5,
            seconds=0,
            peak_rss=0,
            facts={},
            created=0,
        )
    )
    filled.close()
    assert [(f.kind, f.name) for f in verify(filled).findings] == [("damaged-record", digest_value("z"))]


def test_a_leftover_alone_is_clean(filled: Store) -> None:
    filled.scratch()
    filled.close()
    report = verify(filled)
    assert kinds(report) == ["leftover"]
    assert report.clean


def test_repair_waits_for_builds_and_looking_for_gc(filled: Store) -> None:
    with Store(filled.path, sync=False) as build:
        build.use()
        with pytest.raises(StoreError, match="in use by another process"):
            verify(filled)
        assert verify(filled, repair=False).clean
    alone = filled.users.try_exclusive()
    assert alone is not None
    with alone, pytest.raises(StoreError, match="in use by another process"):
        verify(filled, repair=False)


def test_stats_count(filled: Store, commit: Commit) -> None:
    (filled.path / "quarantine" / "q").write_bytes(b"12345")
    filled.scratch()
    filled.close()
    collect(Store(filled.path, sync=False), max_size=0, dry_run=True)
    stats = measure(filled)
    assert (stats.objects, stats.records, stats.evicted, stats.bad_records) == (7, 3, 0, 0)
    assert stats.kinds == {"onnx": KindStats(results=3, size=3 * 16)}
    assert stats.size == 3 * 10 + 6 + sum(os.path.getsize(filled.dir.object(r.output)) for r, _ in filled.ac.results())
    assert (stats.quarantined, stats.quarantine_size, stats.leftovers, stats.saved) == (1, 5, 1, 4.5)
    collect(filled, max_size=0)
    stats = measure(filled)
    assert (stats.objects, stats.records, stats.evicted, stats.kinds) == (0, 3, 3, {})
    Path(filled.dir.record(digest_value("a"))).write_bytes(b"")
    assert measure(filled).bad_records == 1
