"""A cache on a real network file system, reached through two mounts, as by two machines.

``CBUILD_MOUNTS=/mnt/a:/mnt/b`` names two mounts of the same export that share no cache (``nosharecache``).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Work, finish
from sweeps import Tally, tallied, tries

from compressbuild.execute.events import decode

TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {seconds: SECONDS}}, {toy.mix: {salt: 2, modulus: 1000}}]}
"""
VISIBLE = 60  # seconds after which both mounts show the same: NFS keeps names for 30 to 60 (acdirmax)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CBUILD_MOUNTS" not in os.environ, reason="needs CBUILD_MOUNTS: two mounts of one export"),
]


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    """One new directory, as each mount shows it."""
    name = f"cache-{uuid.uuid4().hex}"
    found = [Path(each, name) for each in os.environ["CBUILD_MOUNTS"].split(":")]
    yield found
    shutil.rmtree(found[0], ignore_errors=True)  # one that no build has made is not there


def project(root: Path, seconds: float = 0.1) -> Work:
    work = Work(root, toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT.replace("SECONDS", str(seconds)))
    return work


def test_they_are_one_export_with_two_views(mounts: list[Path]) -> None:
    """Else the tests below say nothing: a lock of one is seen by the other, and the devices differ."""
    for mount in mounts:
        mount.mkdir(exist_ok=True)
    assert mounts[0].stat().st_dev != mounts[1].stat().st_dev
    lock, same = mounts[0] / "lock", mounts[1] / "lock"
    lock.touch()
    with subprocess.Popen(["flock", lock, "sleep", "60"], start_new_session=True) as holder:
        end = time.monotonic() + 20
        while subprocess.run(["flock", "-n", same, "true"], check=False).returncode == 0:
            assert time.monotonic() < end, "one mount does not see the locks of the other"
        os.killpg(holder.pid, signal.SIGKILL)


def test_two_builds_at_once(mounts: list[Path], tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """An action may run twice, as results are seen late, but the bytes are right and the cache is whole."""
    clean = project(tmp_path / "clean")
    clean("all")
    with tallied(record_property) as tally:
        twice = sum(_together(tally, mounts, tmp_path, clean, number) for number in tally.upto(tries(5)))
    record_property("ran twice", twice)
    print(f"{tally.tried} rounds, {twice} actions ran twice")


def _together(tally: Tally, mounts: list[Path], root: Path, clean: Work, number: int) -> int:
    twice = 0
    with tally.case(f"round {number}"):
        works = [project(root / f"work{number}-{each}") for each in "ab"]
        for work in works:
            work.edit("f.txt", "abc", f"abc{number}")
        clean.edit("f.txt", f"abc{number - 1}" if number else "abc", f"abc{number}")
        clean("all")
        started = []
        for work, mount in zip(works, mounts, strict=True):
            started.append(work.start("all", "--json", "--cache-dir", str(mount)))
            time.sleep(tally.rng.choice((0.0, 0.2, 1.0)))
        ran = [finish(process) for process in started]
        for work, each in zip(works, ran, strict=True):
            assert each.code == 0, each.text
            assert "Traceback" not in each.text, each.text
            assert work.published() == clean.published(), "other bytes"
        counts = Counter(node for each in ran for node in each.started)
        twice = sum(count - 1 for count in counts.values())
        assert max(counts.values()) <= 2
    return twice


def test_the_holder_of_an_action_dies(mounts: list[Path], tmp_path: Path) -> None:
    """kill -9 on one mount; the build on the other takes the action over."""
    works = [project(tmp_path / each, seconds=600) for each in "ab"]
    dies = works[0].start("all", "--json", "--cache-dir", str(mounts[0]))
    _until_started(dies, "b/toy.copy")
    waits = works[1].start("all", "--json", "--cache-dir", str(mounts[1]))
    time.sleep(15)
    killed = time.time()
    os.killpg(dies.pid, signal.SIGKILL)
    finish(dies)
    started = _until_started(waits, "b/toy.copy")
    assert started > killed, "it ran beside the one that held it"
    print(f"taken over {started - killed:.2f} s after the kill")
    os.killpg(waits.pid, signal.SIGTERM)
    assert finish(waits).code == 143
    assert works[0].settle() == works[1].settle() == []


def _until_started(process: subprocess.Popen[str], node: str) -> float:
    """When it started (seconds since 1970)."""
    assert process.stdout is not None
    assert process.stderr is not None
    while '"node-started"' not in (line := process.stdout.readline()) or node not in line:
        assert line, f"the build ended: {process.stderr.read()}"
    return decode(line).time


def test_gc_beside_a_build(mounts: list[Path], tmp_path: Path) -> None:
    """gc on one mount while a build runs on the other: no live object goes, and both views are sound in the end."""
    work = project(tmp_path / "work", seconds=3)
    process = work.start("all", "--json", "--cache-dir", str(mounts[0]))
    while process.poll() is None:
        ran = project(tmp_path / "other")("cache", "gc", "--cache-dir", str(mounts[1]), code=None)
        assert "Traceback" not in ran.text, ran.text
    built = finish(process)
    assert built.code == 0, built.text
    time.sleep(VISIBLE)
    for mount in mounts:
        assert work("cache", "verify", "--cache-dir", str(mount), code=None).code == 0
    again = project(tmp_path / "again", seconds=3)
    assert not again.json("all", "--cache-dir", str(mounts[1])).started, "each result is seen by the other mount"
    assert again.published() == work.published()
