"""Many commands on one cache, some of them killed or stopped: each action runs once, nobody hangs, bytes are right."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from quick import Child, Quick
from sweeps import Tally, tallied, tries

SECONDS = 60
"""After these, a command counts as hung. Alone, each takes a fraction of one."""
TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.copy: {seconds: 0.02}}, {toy.mix: {salt: 1}}]}
  t-${n}:
    matrix: {n: [1, 2, 3]}
    from: a
    steps: [{toy.copy: {seconds: 0.03, note: "n${n}"}}, {toy.mix: {salt: "${n}", modulus: 1000}}]
  z: {from: t-1, steps: [{toy.mix: {others: [t-2, t-3], modulus: 1000}}]}
"""
LONG = """
version: 1
models: {f: {file: f.txt}}
targets:
  a: {from: f, steps: [{toy.copy: {seconds: 3}}]}
"""


def project(root: Path, text: str) -> Quick:
    work = Quick(root, toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", text)
    return work


class Round:
    """Builds in one or several directories that share a cache, beside gc."""

    def __init__(self, root: Path, tally: Tally, want: dict[str, bytes | None], most: int) -> None:
        self.rng, self.want = tally.rng, want
        self.cache, self.log = root / "cache", root / "log"
        self.log.touch()
        apart = self.rng.random() < 0.5
        self.works = [project(root / f"w{number}", TEXT) for number in range(most if apart else 1)]
        self.count = self.rng.randint(2, most)
        self.evicting = self.rng.random() < 0.3
        self.where = (
            f"{self.count} builds in {len(self.works)} directories, {'evicting' if self.evicting else 'plain'} gc"
        )

    def run(self) -> None:
        rng, fates = self.rng, {}
        builds = []
        for number in range(self.count):
            builds.append(self.start(number, "all", log=self.log))
            time.sleep(rng.uniform(0, 0.05))
            if number and rng.random() < 0.5:
                fates[number] = rng.choice(("kill", "stop and go", "stop and kill"))
        size = ("--max-size", "1kB") if self.evicting else ()
        cleaning = [self.start(0, "cache", "gc", *size) for _ in range(rng.randint(1, 3))]
        for number, fate in fates.items():
            self.strike(builds[number], fate)
        for child in cleaning:
            assert child.wait(SECONDS) in (0, 1), f"{self.where}: gc\n{child.text}"
            assert "Traceback" not in child.text, f"{self.where}: gc\n{child.text}"
        for child in builds:
            status = child.wait(SECONDS)
            assert status in (0, -signal.SIGKILL), f"{self.where}: exit {status}\n{child.text}"
        self.check([child.pid for child in builds if child.status == 0])

    def start(self, number: int, *args: str, log: Path | None = None) -> Child:
        return self.works[number % len(self.works)].fork(*args, "--cache-dir", str(self.cache), log=log)

    def strike(self, child: Child, fate: str) -> None:
        time.sleep(self.rng.uniform(0, 0.1))
        child.signal(signal.SIGKILL if fate == "kill" else signal.SIGSTOP)
        if fate != "kill":
            time.sleep(self.rng.uniform(0, 0.2))
            child.signal(signal.SIGCONT if fate == "stop and go" else signal.SIGKILL)

    def check(self, survivors: list[int]) -> None:
        """What a killed build had begun may run again; what was finished does not, and nothing runs twice."""
        assert survivors, f"{self.where}: the first is never killed"
        runs = Counter(line.split(" ", 1)[1] for line in self.lines() if int(line.split()[0]) in survivors)
        if not self.evicting:
            assert not runs or max(runs.values()) == 1, f"{self.where}: {runs}"
        for work in self.works:
            ran = work.json("all", "--cache-dir", str(self.cache), code=None)
            assert ran.code == 0, f"{self.where}\n{ran.text}"
            assert self.evicting or not ran.started, f"{self.where}: {ran.started} ran again"
            assert work.everything() == self.want, f"{self.where}: other bytes"
            assert not list((work.root / "build").glob(".*")), f"{self.where}: leftovers"
        checked = self.works[0]("cache", "verify", "--cache-dir", str(self.cache), code=None)
        assert checked.code == 0, f"{self.where}\n{checked.text}"

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


def rounds(root: Path, record_property: Callable[[str, object], None], count: int, most: int) -> None:
    clean = project(root / "clean", TEXT)
    clean("all")
    with tallied(record_property) as tally:
        for number in tally.upto(count):
            (root / str(number)).mkdir()
            with tally.case():
                Round(root / str(number), tally, clean.everything(), most).run()


def test_a_few_together(fast_path: Path, record_property: Callable[[str, object], None]):
    rounds(fast_path, record_property, 3, 4)


@pytest.mark.slow
def test_many_together(fast_path: Path, record_property: Callable[[str, object], None]):
    rounds(fast_path, record_property, tries(300), 16)


def begun(log: Path, seconds: float = SECONDS) -> float:
    """Wait until a node is run; when that was."""
    deadline = time.monotonic() + seconds
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline, "no node was run"
        time.sleep(0.002)
    return time.monotonic()


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped, then killed"])
def test_takeover_takes_less_than_a_second(fast_path: Path, stopped: bool):
    """The best of three, for the machine may be busy. While its holder is stopped, an action is not run twice."""
    taken = []
    for number in range(3):
        work = project(fast_path / f"w{number}", LONG)
        mine, other = fast_path / f"mine{number}", fast_path / f"other{number}"
        first = work.fork("all", log=mine)
        begun(mine)
        second = work.fork("all", log=other)
        time.sleep(0.5)
        if stopped:
            first.signal(signal.SIGSTOP)
            time.sleep(0.5)
        assert not other.exists(), "both ran it"
        first.signal(signal.SIGKILL)
        killed = time.monotonic()
        taken.append(begun(other) - killed)
        second.signal(signal.SIGKILL)
        for child in (first, second):
            assert child.wait(SECONDS) == -signal.SIGKILL
        if taken[-1] < 1:
            break
    assert min(taken) < 1, taken


def test_a_stopped_builder_goes_on_and_the_other_takes_its_result(fast_path: Path):
    work = project(fast_path / "w", LONG.replace("seconds: 3", "seconds: 0.6"))
    mine, other = fast_path / "mine", fast_path / "other"
    first = work.fork("all", log=mine)
    begun(mine)
    second = work.fork("all", log=other)
    first.signal(signal.SIGSTOP)
    time.sleep(0.7)
    first.signal(signal.SIGCONT)
    assert [child.wait(SECONDS) for child in (first, second)] == [0, 0]
    assert not other.exists()
