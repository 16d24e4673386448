from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from compressbuild.digest import digest_value
from compressbuild.errors import StoreError
from compressbuild.store import ActionResult, Evicted, Store
from compressbuild.store.fsck import verify
from compressbuild.store.gc import GcReport, collect

Commit = Callable[..., ActionResult]
DAY = 86_400.0


def used(store: Store, name: object, days_ago: float) -> None:
    when = time.time() - days_ago * DAY
    os.utime(store.dir.record(digest_value(name)), (when, when))


def state(store: Store, names: list[object]) -> str:
    """One letter a name: h(it), e(victed), d(amaged), -."""
    found = [store.lookup(digest_value(name), touch=False) for name in names]
    return "".join("-" if one is None else type(one).__name__[0].lower() for one in found)


@pytest.fixture
def filled(cache: Path, commit: Commit) -> Store:
    """Outputs a … d of 10 000 bytes, used 4 … 1 days ago; nothing holds the store."""
    store = Store(cache, sync=False)
    for number, name in enumerate("abcd"):
        commit(store, name, {"w": name.encode() * 10_000})
        used(store, name, 4 - number)
    store.close()
    return store


NAMES: list[object] = ["a", "b", "c", "d"]


def test_nothing_asked_removes_only_what_nobody_needs(filled: Store) -> None:
    stray = filled.cas.put_bytes(b"unreachable")
    scratch = filled.scratch()
    (scratch / "deep").mkdir()
    (scratch / "deep" / "half").write_bytes(b"...")
    os.chmod(scratch / "deep", 0o555)
    (filled.path / "quarantine" / "bad").write_bytes(b"bad")
    (filled.path / "tmp" / "somebody's").write_bytes(b"precious")
    filled.close()
    report = collect(filled)
    assert (report.objects, report.leftovers, report.dropped, report.evicted) == (1, 2, 0, 0)
    assert report.freed == len(b"unreachable")
    assert state(filled, NAMES) == "hhhh"
    assert filled.cas.check(stray) is not None
    assert os.listdir(filled.path / "tmp") == ["somebody's"]
    assert os.listdir(filled.path / "quarantine") == []


def test_age_drops_records_and_what_only_they_reached(filled: Store) -> None:
    report = collect(filled, max_age=2.5 * DAY)
    assert (report.dropped, report.objects) == (2, 4)
    assert state(filled, NAMES) == "--hh"


def test_size_evicts_the_least_recently_used_and_keeps_their_records(filled: Store) -> None:
    report = collect(filled, max_size=25_000)
    assert (report.evicted, report.objects, report.dropped) == (2, 4, 0)
    assert state(filled, NAMES) == "eehh"
    assert report.size_after <= 25_000
    found = filled.lookup(digest_value("a"), touch=False)
    assert isinstance(found, Evicted)
    assert found.result.evicted
    assert found.result.facts == {"nodes": 3}
    assert collect(filled, max_size=25_000) == GcReport(size_before=report.size_after, size_after=report.size_after)


def test_the_size_reported_is_the_size_there(filled: Store) -> None:
    report = collect(filled, max_size=25_000)
    files = [*(filled.path / "cas").rglob("*"), *(filled.path / "ac").rglob("*")]
    assert report.size_after == sum(path.stat().st_size for path in files if path.is_file())


def test_a_use_saves_an_output(filled: Store) -> None:
    filled.lookup(digest_value("a"))
    filled.close()
    collect(filled, max_size=25_000)
    assert state(filled, NAMES) == "heeh"


def test_what_is_kept_goes_last_and_never_for_its_age(filled: Store) -> None:
    keep = [digest_value("a"), digest_value("b")]
    collect(filled, max_size=25_000, keep=keep)
    assert state(filled, NAMES) == "hhee"
    collect(filled, max_age=0, keep=keep)
    assert state(filled, NAMES) == "hh--"
    collect(filled, max_size=12_000, keep=keep)
    assert state(filled, NAMES) == "eh--"
    collect(filled, max_size=0, keep=keep)
    assert state(filled, NAMES) == "ee--"


def test_an_evicted_record_keeps_its_age_and_goes_with_it(filled: Store) -> None:
    collect(filled, max_size=25_000)
    collect(filled, max_age=2.5 * DAY)
    assert state(filled, NAMES) == "--hh"


def test_shared_objects_stay_while_anybody_needs_them(cache: Path, commit: Commit) -> None:
    store = Store(cache, sync=False)
    commit(store, "old", {"shared": b"s" * 10_000, "own": b"o" * 10_000})
    commit(store, "new", {"shared": b"s" * 10_000})
    used(store, "old", 2)
    store.close()
    collect(store, max_size=15_000)
    assert state(store, ["old", "new"]) == "eh"
    collect(store, max_size=5_000)
    assert state(store, ["old", "new"]) == "ee"


def test_actions_of_one_output_share_its_fate(cache: Path, commit: Commit) -> None:
    store = Store(cache, sync=False)
    commit(store, "early", {"x": b"same" * 1000})
    commit(store, "late", {"x": b"same" * 1000})
    commit(store, "middle", {"x": b"different" * 1000})
    for name, days in (("early", 9), ("late", 1), ("middle", 5)):
        used(store, name, days)
    store.close()
    collect(store, max_size=8_000)
    assert state(store, ["early", "late", "middle"]) == "hhe"
    collect(store, max_size=1_500)
    assert state(store, ["early", "late", "middle"]) == "eee"
    commit(store, "late", {"x": b"same" * 1000})  # rebuilt under one key: the bytes serve the other too
    assert state(store, ["early", "late", "middle"]) == "hhe"


def test_a_dry_run_tells_and_does_nothing(filled: Store) -> None:
    filled.cas.put_bytes(b"unreachable")
    filled.close()
    told = collect(filled, max_size=25_000, max_age=3.5 * DAY, dry_run=True)
    assert state(filled, NAMES) == "hhhh"
    done = collect(filled, max_size=25_000, max_age=3.5 * DAY)
    assert told == done
    assert (done.dropped, done.evicted, done.objects) == (1, 1, 5)


def test_a_build_keeps_gc_away_and_gc_a_build(filled: Store, commit: Commit) -> None:
    with Store(filled.path, sync=False) as build:
        build.use()
        with pytest.raises(StoreError, match="a build is using this cache") as error:
            collect(filled)
        assert error.value.hint is not None
        collect(filled, dry_run=True)
    collect(filled)
    alone = filled.users.try_exclusive()
    assert alone is not None
    with Store(filled.path, sync=False) as build:
        waiting = Thread(target=commit, args=(build, "x", {}), daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        alone.release()
        waiting.join(20)
        assert not waiting.is_alive()
    commit(filled, "x", {})  # the first write is enough to hold the cache
    with pytest.raises(StoreError, match="a build is using this cache"):
        collect(Store(filled.path))
    filled.close()


def test_damage_is_counted_and_left_to_verify(filled: Store) -> None:
    result = filled.lookup(digest_value("c")).result  # type: ignore[union-attr]
    os.unlink(filled.dir.object(filled.cas.read_tree(result.output).files[0].digest))
    bad = Path(filled.dir.record(digest_value("d")))
    bad.write_bytes(b"junk")
    filled.close()
    report = collect(Store(filled.path, sync=False))
    assert report.damaged == 1
    assert not bad.exists()
    assert state(filled, NAMES) == "hhd-"
    assert [finding.kind for finding in verify(filled).findings] == ["damaged-record"]
    assert state(filled, NAMES) == "hhe-"
