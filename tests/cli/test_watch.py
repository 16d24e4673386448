"""``cbuild watch``: a real process, real edits, and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import CBUILD, Work

from compressbuild.cli import watch

TEXT = """\
version: 1
models: {f: {file: f.txt}}
datasets: {d: {loader: "loaders:rows"}}
targets:
  a: {from: f, steps: [{toy.copy: {data: d, seconds: 0}}]}
  b: {from: f, steps: [toy.mix]}
"""
SECONDS = 60.0


class Watching:
    """A watching process, and the file that it prints to."""

    def __init__(self, work: Work, *words: str) -> None:
        self._log = work.root.parent / "said"
        with self._log.open("w") as file:
            self.process = subprocess.Popen(
                [CBUILD, "watch", *words, "--interval", "0.05"], cwd=work.root, env=work.environment(),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def said(self) -> str:
        return self._log.read_text()

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def rounds(self, count: int) -> None:
        """Wait until that many builds have ended."""
        self.until(lambda: self.said.count("watching ") >= count)

    def interrupted(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=SECONDS)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path / "watched", toy=True)
    made.write("f.txt", "abc")
    made.write("g.txt", "other")
    made.write("loaders.py", "def rows():\n    return [1]\n")
    made.write("Compressfile", TEXT)
    yield made
    assert made.settle() == []


def test_an_edit_is_built(work: Work):
    value = work.root / "build" / "a" / "value"
    watching = Watching(work, "a")
    watching.rounds(1)
    assert value.read_text() == "abc1"
    work.edit("loaders.py", "[1]", "[2]")
    watching.rounds(2)
    assert value.read_text() == "abc2"
    assert watching.interrupted() == 130
    assert watching.said.endswith("interrupted\n")


@pytest.mark.slow
def test_edits_are_built(work: Work):
    value = work.root / "build" / "a" / "value"
    watching = Watching(work, "a")
    watching.rounds(1)
    assert value.read_text() == "abc1"
    work.edit("loaders.py", "[1]", "[2]")
    watching.rounds(2)
    assert value.read_text() == "abc2"
    work.write("g.txt", "nothing depends on it yet")
    work.edit("Compressfile", "f.txt", "g.txt}")  # not sound: it says so, and goes on
    watching.rounds(3)
    assert "Compressfile:2:27: error: " in watching.said
    work.edit("Compressfile", "g.txt}", "g.txt")
    watching.rounds(4)
    assert value.read_text() == "nothing depends on it yet2"
    work.write("g.txt", "now it does ")
    watching.rounds(5)
    assert value.read_text() == "now it does 2"
    assert watching.interrupted() == 130
    assert watching.said.count("changed: ") == 4
    assert "changed: loaders.py\n" in watching.said
    assert watching.said.endswith("interrupted\n")
    assert not (work.root / "build" / "b").exists()


@pytest.mark.slow
def test_an_edit_during_a_build_is_built_after_it_and_ctrl_c_ends_both(work: Work):
    work.edit("Compressfile", "seconds: 0}", "seconds: 1}")
    watching = Watching(work, "a")
    watching.until(lambda: any((work.root / ".cbuild" / "logs").glob("a~toy.copy*")))
    work.edit("loaders.py", "[1]", "[7]")
    watching.until(lambda: "changed: loaders.py" in watching.said)
    watching.rounds(2)
    assert (work.root / "build" / "a" / "value").read_text() == "abc7"
    work.edit("Compressfile", "seconds: 1}", "seconds: 60}")
    watching.until(lambda: watching.said.count("changed: ") == 2)
    time.sleep(0.5)
    assert watching.interrupted() == 130


def test_a_build_begins_when_nothing_changes_any_more(monkeypatch: pytest.MonkeyPatch):
    """Editors write in several steps."""
    world, now = [0, 0, 1, 2, 3, 3, 3], 0

    def sleep(_: float) -> None:
        nonlocal now
        now += 1

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(watch, "signature", lambda _: world[now])
    assert watch._wait({"file": 0}, 0.5) == "file"
    assert now == 5, "at 2 it was seen, at 4 it had changed for the last time"


def test_usage(work: Work):
    assert "did you mean 'a'" in work("watch", "A", code=2).err
    assert "Missing argument" in work("watch", code=2).err
