"""What lies in the cache: killed while it was made, changed afterwards, no longer wanted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def test_what_a_killed_process_left_counts_for_nothing(fresh):
    reached = fresh.root.parent / "reached"
    slow = fresh.uv(f'[ "$1" = pip ] && touch {reached} && sleep 60')
    process = fresh.start("env", "make", "new", **slow)
    wait_for(reached)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    left = [path.name for path in (fresh.root / "cache/env").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".making-")
    assert "new: not made" in fresh("env", "list").out
    assert "new: not made" in fresh("env", "verify").out

    assert ".making-" in fresh("env", "gc", "-n").out
    assert [path.name for path in (fresh.root / "cache/env").iterdir()] == left
    fresh("env", "make", "new")
    assert "new: sound" in fresh("env", "verify").out
    assert not list((fresh.root / "cache/env").glob(".making-*"))


def test_gc_removes_what_a_killed_process_left(fresh):
    reached = fresh.root.parent / "reached"
    process = fresh.start("env", "make", "new", **fresh.uv(f'[ "$1" = pip ] && touch {reached} && sleep 60'))
    wait_for(reached)
    assert "removed" not in fresh("env", "gc", code=None).out  # while it is being made
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "not whole" in fresh("env", "gc").out
    assert not list((fresh.root / "cache/env").iterdir())


def test_gc_keeps_what_is_asked_for(built):
    old, new = built.place("old"), built.place("new")
    assert "freed 0 B" in built("env", "gc").out
    built.lock("new", "3.0")
    built("env", "make")
    assert f"removed {new} (new, " in built("env", "gc").out
    assert not new.exists()
    assert old.is_dir()
    assert built.place("new").is_dir()


def change(place: Path) -> str:
    path = next(place.glob("lib/*/site-packages/tinytool/__init__.py"))
    path.write_text('VERSION = "9.9"\n')
    return f"changed {path.relative_to(place)}"


def add(place: Path) -> str:
    path = next(place.glob("lib/*/site-packages")) / "sitecustomize.py"
    path.write_text("")
    return f"added {path.relative_to(place)}"


def remove(place: Path) -> str:
    path = next(place.glob("lib/*/site-packages/tinytool/__init__.py"))
    path.unlink()
    return f"removed {path.relative_to(place)}"


def relink(place: Path) -> str:
    path = place / "bin/python3"
    path.unlink()
    path.symlink_to("/bin/true")
    return "changed bin/python3"


@pytest.mark.parametrize("tamper", [change, add, remove, relink])
def test_a_changed_environment_is_noticed(built, tamper):
    said = tamper(built.place("new"))
    verified = built("env", "verify", code=1).out
    assert f"new: 1 differences: {said}" in verified
    assert "old: sound" in verified
    doctor = built("doctor").out
    assert f"environment new  {said}" in doctor
    assert re.search(r"^environments +made: old; not made: ", doctor, re.MULTILINE)


def test_only_verify_sees_a_change_whose_time_was_set_back(built):
    place = built.place("new")
    path = next(place.glob("lib/*/site-packages/tinytool/__init__.py"))
    then = path.stat()
    path.write_text('VERSION = "2.1"\n')
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert path.stat().st_size == then.st_size
    assert re.search(r"^environments +made: new, old; ", built("doctor").out, re.MULTILINE)
    assert "changed" in built("env", "verify", "new", code=1).out


def test_a_damaged_record_is_said(built):
    (built.place("new") / "compressbuild.record").write_bytes(b"nothing")
    assert "new: 1 differences: its record is damaged" in built("env", "verify", code=1).out


def test_an_interpreter_that_has_gone_is_replaced(built):
    """A cache that was moved to another machine names a Python that is not there."""
    python = built.place("new") / "bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert "new: not made" in built("env", "list").out
    built("env", "make", "new")
    assert "new: sound" in built("env", "verify").out


def test_verify_says_what_is_not_made(built):
    shutil.rmtree(built.place("new"))
    assert "new: not made" in built("env", "verify").out
    assert "unknown environment 'nwe'" in built("env", "verify", "nwe", code=2).err


def test_the_statistics_of_a_cache_count_environments(built):
    made = list((built.root / "cache/env").iterdir())
    size = sum(file.lstat().st_size for path in made for file in path.rglob("*") if file.is_symlink() or file.is_file())
    found = json.loads(built("cache", "stats", "--json").out)
    assert (found["environments"], found["environments_size"]) == (2, size)
    assert "\n2 environments, " in built("cache", "stats").out
