"""kill -9 at any moment, two builds at once: no finished node runs again, and the bytes are right."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Ran, Work, counted, finish
from sweeps import tallied, tries

TEXT = """
version: 1
models: {{f: {{file: f.txt}}}}
evaluate: {{metrics: [length]}}
targets:
  a: {{from: f, steps: [{{toy.mix: {{salt: 1}}}}]}}
  t-${{n}}:
    matrix: {{n: [1, 2, 3, 4]}}
    from: a
    steps: [{{toy.copy: {{seconds: {seconds}, note: "n${{n}}"}}}}, {{toy.mix: {{salt: "${{n}}", modulus: 1000}}}}]
  z: {{from: t-1, steps: [{{toy.mix: {{others: [t-2, t-3, t-4], modulus: 1000}}}}]}}
"""


def kill_after(work: Work, seconds: float, *args: str) -> Ran:
    """Kill the whole process group of a build; what it had printed by then."""
    process = work.start(*args)
    timer = threading.Timer(seconds, lambda: os.killpg(process.pid, signal.SIGKILL))
    timer.start()
    ran = finish(process)
    timer.cancel()
    return ran


def killed_until_done(work: Work, moments: list[float]) -> tuple[set[str], int]:
    """Kill builds at these moments, then build once more. (nodes that the last build had, builds really killed).

    A node whose result was kept may have been killed before it was said: it is in no event of the killed build.
    """
    finished: set[str] = set()
    killed = 0
    for moment in moments:
        ran = kill_after(work, moment, "all", "--json")
        assert ran.code in (0, -signal.SIGKILL), ran.text
        assert not finished & set(ran.started), "a finished node ran again"
        killed += ran.code != 0
        finished |= ran.built
        assert work.settle() == [], "a process outlived its engine"
    last = work.json("all")
    assert not finished & set(last.started)
    assert finished <= last.cached
    return last.cached | last.built, killed


def test_kill_9_at_random_moments(toys: Work, tmp_path: Path, record_property: Callable[[str, object], None]):
    toys.write("Compressfile", TEXT.format(seconds=0.4))
    clean = toys.copy(tmp_path / "clean")
    began = time.monotonic()
    want = clean.json("all").built
    whole = time.monotonic() - began
    with tallied(record_property) as tally, tally.case():
        moments = sorted(tally.rng.uniform(0.2, 0.9) * whole for _ in range(3))
        had, killed = killed_until_done(toys, moments)
        assert killed
    assert had == want
    assert toys.published() == clean.published()
    assert "nothing to do" in toys("all").out
    assert toys("cache", "verify").code == 0
    assert toys("verify").code == 0


@pytest.mark.slow
def test_kill_9_many_times(toys: Work, tmp_path: Path, record_property: Callable[[str, object], None]):
    toys.write("Compressfile", TEXT.format(seconds=0.2))
    clean = toys.copy(tmp_path / "clean")
    clean("all")
    with tallied(record_property) as tally:
        for number in tally.upto(tries(200)):
            work = toys.copy(tmp_path / f"killed{number}")
            with tally.case(f"project {number}"):
                killed_until_done(work, [tally.rng.uniform(0.05, 2) for _ in range(10)])
                assert work.published() == clean.published()
                assert work("cache", "verify").code == 0
            shutil.rmtree(work.root)


@pytest.mark.slow
def test_kill_9_of_the_example(example_built: Work, tmp_path: Path, record_property: Callable[[str, object], None]):
    """Ten moments spread over the time that a clean build takes; latency gates are left out, for they measure."""
    work = example_built.copy(tmp_path / "killed")
    shutil.rmtree(work.root / "cache")
    shutil.rmtree(work.root / ".cbuild")
    work.unpublish()
    with tallied(record_property) as tally, tally.case():
        _, killed = killed_until_done(work, [tally.rng.uniform(1, 25) for _ in range(10)])
        assert killed >= 5
    want, have = example_built.published(), work.published()
    assert {name for name in want if want[name] != have.get(name)} <= {"trt-int8/model.engine", "trt-fp16/model.engine"}


def together(work: Work, *args: str, count: int = 2) -> list[Ran]:
    return [finish(process) for process in [work.start(*args) for _ in range(count)]]


def test_two_builds_at_once(toys: Work):
    toys.write("Compressfile", TEXT.format(seconds=0.5))
    runs = together(toys, "all", "--json")
    assert [ran.code for ran in runs] == [0, 0], runs[0].text + runs[1].text
    times = counted(label for ran in runs for label in ran.started)
    assert set(times.values()) == {1}, times
    assert all(ran.started for ran in runs), "they shared the work"
    assert {t.status for ran in runs for t in ran.targets.values()} <= {"published", "up to date"}
    assert set(times) == set.union(*(ran.built for ran in runs))
    assert "nothing to do" in toys("all").out


def test_two_checkouts_at_once_on_one_cache(mini_built: Work, tmp_path: Path):
    """Real nodes, in two directories that share nothing but the cache."""
    first = mini_built.copy(tmp_path / "first")
    for name in ("cache", ".cbuild", "build"):
        shutil.rmtree(first.root / name)
    second = first.copy(tmp_path / "second")
    cache = str(tmp_path / "cache")
    processes = [work.start("all", "--json", "--cache-dir", cache) for work in (first, second)]
    runs = [finish(process) for process in processes]
    assert [ran.code for ran in runs] == [0, 0], runs[0].text + runs[1].text
    times = counted(label for ran in runs for label in ran.started)
    assert set(times.values()) == {1}, times
    assert len(times) == 17
    assert first.published() == second.published()


def test_builder_killed_while_another_waits_for_its_node(toys: Work):
    toys.write("Compressfile", TEXT.format(seconds=2))
    first = toys.start("t-1", "--json")
    while '"t-1/toy.copy"' not in (line := first.stdout.readline()) or "started" not in line:
        assert line
    second = toys.start("t-1", "--json")
    time.sleep(0.7)
    os.killpg(first.pid, signal.SIGKILL)
    finish(first)
    ran = finish(second, 30)
    assert ran.code == 0
    assert "t-1/toy.copy" in ran.started
    assert toys.settle() == []


def test_failure_of_one_does_not_stop_the_other(toys: Work):
    """Failures are not shared: the second build finds out for itself."""
    toys.write(
        "Compressfile",
        TEXT.format(seconds=0.3) + "  bad: {from: a, steps: [{toy.copy: {fail: raise, seconds: 0.5}}]}\n",
    )
    runs = together(toys, "-k", "all", "--json")
    assert [ran.code for ran in runs] == [1, 1]
    assert all([f.node for f in ran.failures] == ["bad/toy.copy"] for ran in runs)
    good = counted(label for ran in runs for label in ran.started if label != "bad/toy.copy")
    assert set(good.values()) == {1}
