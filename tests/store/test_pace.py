"""How a queue syncs: one by one, or all of the file system, by what each took. The clock is the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.store import FileSystem, fs
from compressbuild.store.fs import Pace, SyncQueue


class Disk(FileSystem):
    """``each``, ``whole``: seconds of a sync. ``synced``: by drain, what was synced, or "all"."""

    def __init__(self, each: float, whole: float) -> None:
        self.each, self.whole = each, whole
        self.now = 0.0
        self.synced: list[str] = []

    def monotonic(self) -> float:
        return self.now

    def sync_file(self, path: str) -> None:
        self.now += self.each
        self.synced.append(path)

    def sync_dir(self, path: str) -> None:
        self.sync_file(path)

    def sync_all(self, path: str) -> bool:
        self.now += self.whole
        self.synced.append("all")
        return True


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(each=0.004, whole=0.006)
    monkeypatch.setattr(fs, "time", disk)
    return disk


def drained(queue: SyncQueue, disk: Disk, count: int) -> list[str]:
    """What a drain of so many files in one directory synced."""
    for number in range(count - 1):
        queue.add_content(f"/d/{number}")
    queue.add_dir("/d")
    disk.synced.clear()
    queue.drain()
    assert not queue
    if disk.synced != ["all"]:
        assert disk.synced == [*sorted(f"/d/{number}" for number in range(count - 1)), "/d"], "none is left out"
    return list(disk.synced)


def test_a_single_result_is_not_worth_the_try(disk: Disk) -> None:
    queue = SyncQueue(disk, "/", enabled=True)
    assert [len(drained(queue, disk, 15)) for _ in range(5)] == [15] * 5


def test_several_that_take_long_are_synced_together_and_then_fewer_too(disk: Disk) -> None:
    queue = SyncQueue(disk, "/", enabled=True)
    assert len(drained(queue, disk, 16)) == 16, "nothing is known yet"
    assert drained(queue, disk, 16) == ["all"]
    assert drained(queue, disk, 3) == ["all"]
    assert drained(queue, disk, 1) == ["/d"]


def test_several_that_take_no_time_are_not(disk: Disk) -> None:
    disk.each = 0.0001
    queue = SyncQueue(disk, "/", enabled=True)
    assert [len(drained(queue, disk, 63)) for _ in range(5)] == [63] * 5
    assert drained(queue, disk, 64) == ["all"]


def test_what_waits_for_other_programs_is_left_alone_for_a_while(disk: Disk) -> None:
    disk.whole = 30.0
    queue = SyncQueue(disk, "/", enabled=True)
    drained(queue, disk, 2)
    assert drained(queue, disk, 100) == ["all"]
    assert [len(drained(queue, disk, 100)) for _ in range(10)] == [100] * 10
    disk.whole = 0.006
    tries = [drained(queue, disk, 100) == ["all"] for _ in range(60)]
    assert any(tries), "the others may have ended"
    assert all(tries[tries.index(True) + 10 :])


def test_a_store_and_what_is_published_learn_together(disk: Disk) -> None:
    pace = Pace()
    first = SyncQueue(disk, "/", enabled=True, pace=pace)
    drained(first, disk, 16)
    drained(first, disk, 16)
    assert drained(SyncQueue(disk, "/", enabled=True, pace=pace), disk, 4) == ["all"]


def test_where_there_is_no_such_call_each_is_synced(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "sync_all", lambda path: False)
    queue = SyncQueue(disk, "/", enabled=True)
    assert [len(drained(queue, disk, 100)) for _ in range(3)] == [100] * 3


@pytest.mark.parametrize("what", ["nothing", "file", "link", "dangling", "empty", "full", "deep"])
def test_a_tree_is_removed_whatever_it_is(tmp_path: Path, what: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    path = tmp_path / "tree"
    if what == "file":
        path.write_text("x")
    elif what == "link":
        path.symlink_to(precious)
    elif what == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif what != "nothing":
        path.mkdir()
        if what != "empty":
            (path / "a" / "b").mkdir(parents=True)
            (path / "link").symlink_to(precious)
            (path / "file").write_text("x")
        if what == "deep":
            (path / "a" / "b" / "c").write_text("x")
    FileSystem().remove_tree(str(path))
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_a_tree_that_cannot_be_removed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()

    def refuses(path: str) -> None:
        raise OSError(16, "Device or resource busy", path)

    system = FileSystem()
    monkeypatch.setattr(system, "remove_dir", refuses)
    with pytest.raises(OSError, match="busy"):
        system.remove_tree(str(tmp_path / "tree"))
