"""Power fails during a whole build: any part of what was not synced is lost. The next build sets all right."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from power import CUT, PROJECT, Disk, blind_to_inodes, cut_at, lose
from quick import Quick
from sweeps import Tally, tallied, tries

from compressbuild.execute import group
from compressbuild.store import fs

Record = Callable[[str, object], None]


class Machine:
    """A project that was built of one input, and is to be built of another when the power fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.built = Quick(root / "built", toy=True)
        self.built.write("f.txt", "abc")
        self.built.write("Compressfile", PROJECT)
        self.built("all")
        self.old = self.built.published()
        other = self.fresh()
        other("all")
        self.new = other.published()
        assert self.new != self.old

    def fresh(self) -> Quick:
        shutil.rmtree(self.root / "work", ignore_errors=True)
        work = self.built.copy(self.root / "work")
        work.write("f.txt", "another input")
        return work

    def run(self, at: int | None, rng: random.Random, *, blind: bool = False) -> tuple[Quick, int, bool]:
        """The project after the failure, the changes made until then, and whether the build had ended."""
        work = self.fresh()
        disk = Disk(str(work.root))
        disk.sync_all()
        log = self.root / "disk"
        with cut_at(disk, at, log, blind=blind):
            child = work.fork("all")
        status = child.wait(30)
        assert status in (0, CUT), child.text
        return work, lose(work.root, log, rng), status == 0

    def whole(self, work: Quick) -> None:
        """No target is published in part: each is the old one, the new one, or gone."""
        found = {name: data for name, data in work.published().items() if not name.startswith(".")}
        for target in ("a", "b"):
            mine = {name: data for name, data in found.items() if name.startswith(f"{target}/")}
            wanted = [{n: d for n, d in each.items() if n.startswith(f"{target}/")} for each in (self.old, self.new)]
            assert mine in ({}, *wanted), f"published in part: {mine}"

    def check(self, at: int | None, rng: random.Random, *, blind: bool = False) -> int:
        work, count, ended = self.run(at, rng, blind=blind)
        where = "after the build" if ended else f"at change {at}"
        self.whole(work)
        child = work.fork("all")
        assert child.wait(30) == 0, f"{where}: the next build fails\n{child.text}"
        assert "Traceback" not in child.text, child.text
        assert work.published() == self.new, f"{where}: other bytes\n{child.text}"
        child = work.fork("verify")
        assert child.wait(30) == 0, f"{where}: verify fails\n{child.text}"
        return count

    def sample(self, tally: Tally, count: int) -> None:
        changes = self.check(None, tally.rng)
        assert changes > 30
        for _ in tally.upto(count):
            at = tally.rng.randrange(changes + 1)
            with tally.case(f"power fails at change {at} of {changes}"):
                self.check(at, tally.rng)


@pytest.fixture
def machine(fast_path: Path) -> Iterator[Machine]:
    if not str(fast_path).startswith("/dev/shm"):
        pytest.skip("needs a tmpfs: another file system may use an inode's number again")
    with blind_to_inodes():
        yield Machine(fast_path)


def test_power_fails_during_a_build(machine: Machine, record_property: Record) -> None:
    with tallied(record_property) as tally:
        machine.sample(tally, 4)


def test_power_fails_while_targets_are_published_together(
    machine: Machine, record_property: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both results are in one group, and each group is synced by one call."""
    monkeypatch.setattr(group, "_HURRY", 60.0)
    monkeypatch.setattr(fs, "_SYNCFS_FROM", 1)
    with tallied(record_property) as tally:
        machine.sample(tally, 4)


@pytest.mark.slow
def test_power_fails_during_a_build_long(machine: Machine, record_property: Record) -> None:
    with tallied(record_property) as tally:
        machine.sample(tally, tries(500))


def test_the_sweep_sees_a_build_that_does_not_sync(machine: Machine) -> None:
    with pytest.raises(AssertionError, match=r"published in part|other bytes|fails"):
        for seed in range(20):
            machine.check(None, random.Random(seed), blind=True)
