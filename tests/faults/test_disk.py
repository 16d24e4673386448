"""Power fails during a build on a real ext4: its image is copied at random moments, and each copy is mounted.

``test_power.py`` loses more than a kernel does. Here nothing is simulated: what is on the disk, in which order, and
what its journal makes of it, is the kernel's affair.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest
from looped import Image
from power import PROJECT
from quick import Quick
from sweeps import Tally, tallied, tries

Record = Callable[[str, object], None]
AT_ONCE = 4
"""Copies that one build gives: the last when it has ended."""


class Machine:
    """A project that was built of one input, is on the disk, and is built of another when the power fails."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.image = Image(place)
        built = self.project(self.image.disk / "work")
        built.write("f.txt", "abc")
        built.write("Compressfile", PROJECT)
        self._ended(built, "all")
        self.old = built.published()
        other = built.copy(place / "other")
        other.write("f.txt", "another input")
        began = time.monotonic()
        self._ended(other, "all")
        self.seconds = time.monotonic() - began
        self.new = other.published()
        assert self.new != self.old
        self.image.unmount()
        self._start = place / "start"
        self.image.copy(self._start)

    @staticmethod
    def project(root: Path) -> Quick:
        return Quick(root, toy=True)

    @staticmethod
    def _ended(work: Quick, *words: str) -> None:
        child = work.fork(*words)
        status = child.wait(60)
        assert status == 0, f"{' '.join(words)}: exit {status}\n{child.text}"
        assert "Traceback" not in child.text, child.text

    def copies(self, tally: Tally, *, blind: bool = False) -> Iterator[Path]:
        """The disk at some moments of one build. ``blind``: its syncs do nothing, as if the code had none."""
        image = self.image
        image.boot(self._start)
        work = self.project(image.disk / "work")
        image.sync(work.write("f.txt", "another input"))
        with ExitStack() as stack:
            if blind:
                stack.enter_context(mock.patch("os.fsync", return_value=None))
                stack.enter_context(mock.patch("compressbuild.store.fs._syncfs", return_value=lambda _: None))
            child = work.fork("all")
        began = time.monotonic()
        made = []
        for moment in sorted(tally.rng.uniform(0, self.seconds) for _ in range(AT_ONCE - 1)):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            child.signal(signal.SIGSTOP)
            made.append(self._copied(len(made), tally))
            child.signal(signal.SIGCONT)
        assert child.wait(60) == 0, child.text
        yield from (*made, self._copied(AT_ONCE - 1, tally))

    def _copied(self, number: int, tally: Tally) -> Path:
        if tally.rng.random() < 0.7:
            self.image.others_sync()
        self.image.copy(path := self._place / f"copy{number}")
        return path

    def check(self, copy: Path, *, ended: bool) -> str:
        """What is published right after the failure, in a word. ``ended``: the build had said that it is done."""
        self.image.boot(copy)
        work = self.project(self.image.disk / "work")
        state = " ".join(self._whole(work, target) for target in ("a", "b"))
        assert not ended or state == "new new", f"the build was done, and its targets are {state}"
        self._ended(work, "all")
        assert work.published() == self.new, "other bytes"
        self._ended(work, "verify")
        return state

    def _whole(self, work: Quick, target: str) -> str:
        """A target is the old one, the new one, or gone; and its evidence can be read."""
        mine = {name: data for name, data in work.published().items() if name.startswith(f"{target}/")}
        found = [
            word
            for word, all_ in (("old", self.old), ("new", self.new))
            if mine == {name: data for name, data in all_.items() if name.startswith(f"{target}/")}
        ]
        assert found or not mine, f"{target} is published in part: {mine}"
        for name in ("provenance.json", "metrics.json"):
            if (path := work.root / "build" / target / name).exists():
                try:
                    json.loads(path.read_bytes())
                except ValueError as error:
                    raise AssertionError(
                        f"{target} is published, but torn: {name} has {path.stat().st_size} bytes"
                    ) from error
            else:
                assert not mine, f"{target} is published without {name}"
        return found[0] if found else "gone"

    def sample(self, tally: Tally, count: int, *, blind: bool = False) -> set[str]:
        """``count`` copies, ``AT_ONCE`` of a build; what was found published."""
        seen: set[str] = set()
        for _ in tally.upto(-(-count // AT_ONCE)):
            for number, copy in enumerate(self.copies(tally, blind=blind), 1):
                with tally.case():
                    seen.add(self.check(copy, ended=number == AT_ONCE))
        return seen


@pytest.fixture
def machine(fast_path: Path) -> Iterator[Machine]:
    made = Machine(fast_path)
    yield made
    made.image.close()


def test_the_disk_is_copied_during_a_build(machine: Machine, record_property: Record) -> None:
    with tallied(record_property) as tally:
        machine.sample(tally, AT_ONCE)


@pytest.mark.slow
def test_the_disk_is_copied_during_many_builds(machine: Machine, record_property: Record) -> None:
    with tallied(record_property) as tally:
        seen = machine.sample(tally, tries(400))
        print(sorted(seen))
        assert len(seen) > 1, "every copy was of the same moment"


def test_it_sees_a_build_that_does_not_sync(machine: Machine) -> None:
    tally = Tally(7)
    for _ in range(5):
        machine.sample(tally, AT_ONCE, blind=True)
        if tally.failed:
            return
    raise AssertionError(f"{tally.tried} copies, and all is well")
