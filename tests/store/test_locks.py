from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compressbuild.digest import digest_value
from compressbuild.errors import StoreError
from compressbuild.store import ActionLocks, SharedExclusive

KEY = digest_value("action")

HOLD = """
import sys, time
from compressbuild.store import ActionLocks
lock = ActionLocks(sys.argv[1]).try_acquire(sys.argv[2])
print("held" if lock else "refused", flush=True)
time.sleep(60)
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(directory), KEY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_holds_and_others_do_not(tmp_path: Path) -> None:
    locks, others = ActionLocks(str(tmp_path / "l")), ActionLocks(str(tmp_path / "l"))
    with locks.try_acquire(KEY) as lock:  # type: ignore[union-attr]
        assert lock.held
        assert others.try_acquire(KEY) is None
        assert locks.try_acquire(KEY) is None
        other_key = others.try_acquire(digest_value("another"))
        assert other_key is not None
        other_key.release()
    assert not lock.held
    again = others.try_acquire(KEY)
    assert again is not None
    again.release()
    again.release()
    assert os.listdir(tmp_path / "l") == []


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    process = holder(tmp_path)
    locks = ActionLocks(str(tmp_path))
    assert locks.try_acquire(KEY) is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = locks.try_acquire(KEY)
    assert lock is not None
    lock.release()
    assert process.stdout is not None
    process.stdout.close()


def test_a_forked_child_does_not_keep_its_parents_locks(tmp_path: Path) -> None:
    """flock belongs to the open file that fork shares: without care, an orphan would keep the lock."""
    locks = ActionLocks(str(tmp_path))
    lock = locks.try_acquire(KEY)
    assert lock is not None
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        lock.release()
        again = locks.try_acquire(KEY)
        assert again is not None
        again.release()
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)


def test_a_childs_exit_does_not_release_its_parents_lock(tmp_path: Path) -> None:
    locks = ActionLocks(str(tmp_path))
    lock = locks.try_acquire(KEY)
    assert lock is not None
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert ActionLocks(str(tmp_path)).try_acquire(KEY) is None
    lock.release()


def test_an_executed_child_inherits_no_lock(tmp_path: Path) -> None:
    lock = ActionLocks(str(tmp_path)).try_acquire(KEY)
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    lock.release()
    again = ActionLocks(str(tmp_path)).try_acquire(KEY)
    assert again is not None
    again.release()
    child.communicate(b"\n")


def test_a_removed_lock_file_excludes_nobody_wrongly(tmp_path: Path) -> None:
    """The race: B opens A's file, A unlinks it and lets go, B locks what has no name any more."""
    locks = ActionLocks(str(tmp_path))
    lock = locks.try_acquire(KEY)
    assert lock is not None
    (tmp_path / KEY).unlink()  # as if by somebody's rm
    other = locks.try_acquire(KEY)
    assert other is not None
    lock.release()  # must not unlink the file of the other
    assert (tmp_path / KEY).exists()
    assert locks.try_acquire(KEY) is None
    other.release()


def _contend(directory: str, counter: str, rounds: int) -> None:
    locks = ActionLocks(directory)
    done = 0
    while done < rounds:
        lock = locks.try_acquire(KEY)
        if lock is None:
            continue
        with lock:  # a lost update shows that two were in here
            value = int(Path(counter).read_text())
            if done % 7 == 0:
                time.sleep(0.0002)
            Path(counter).write_text(str(value + 1))
        done += 1


def test_many_processes_are_never_inside_together(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_contend, args=(str(tmp_path / "l"), str(counter), 150)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert counter.read_text() == "600"


def test_shared_and_exclusive(tmp_path: Path) -> None:
    door = SharedExclusive(str(tmp_path / "locks" / "door"))
    one, two = door.try_shared(), door.try_shared()
    assert one is not None
    assert two is not None
    assert door.try_exclusive() is None
    one.release()
    assert door.try_exclusive() is None
    two.release()
    with door.try_exclusive() as alone:  # type: ignore[union-attr]
        assert alone.held
        assert door.try_shared() is None
        assert door.try_exclusive() is None
    assert door.try_shared() is not None


def test_a_dropped_lock_is_released(tmp_path: Path) -> None:
    door = SharedExclusive(str(tmp_path / "door"))
    door.try_exclusive()
    again = door.try_exclusive()
    assert again is not None
    again.release()


def test_a_key_is_a_digest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        ActionLocks(str(tmp_path)).try_acquire("../../etc/passwd")


def test_a_lock_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot open the lock file"):
        SharedExclusive(str(tmp_path / "file" / "door")).try_shared()
