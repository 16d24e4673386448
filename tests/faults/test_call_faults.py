"""Every file-system call of a whole command fails, below Python, or is its last: a plain build sets it right.

The command is a process, forked from one that has imported the engine; what sets it right runs in this one. A few
commands are started as users start them, so that what is done before the imports counts, too.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Ran
from quick import Quick
from struck import FAULTS, FULL, KILL, Call, Fault, Struck, compiled
from sweeps import Tally, shard, tallied, tries

COMMANDS = {"all": ("all", "--json"), "gc": ("cache", "gc"), "verify": ("verify",), "report": ("report",)}
TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.mix: {salt: 2, modulus: 1000}}]}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("shim"))


class Sweep:
    """A project that each fault starts from, and what it publishes without one."""

    def __init__(self, shim: Path, root: Path) -> None:
        self.root = root
        self.struck_by = Struck(shim, root)
        self.start = Quick(root / "start", toy=True)
        self.start.write("f.txt", "a model\n")
        self.start.write("Compressfile", TEXT)
        self.built = self.start.copy(root / "built")
        self.built("all")
        self.want = self.built.published()
        assert self.want

    def begin(self, command: str) -> Quick:
        shutil.rmtree(self.root / "work", ignore_errors=True)
        return (self.start if command == "all" else self.built).copy(self.root / "work")

    def struck(
        self, work: Quick, command: str, at: int, fault: Fault, *, alone: bool = False
    ) -> tuple[Ran, list[Call]]:
        """What the command did, and its calls. ``alone``: as a user starts it."""
        return self.struck_by.run(work, COMMANDS.get(command, tuple(command.split())), at, fault, alone=alone)

    def calls(self, command: str) -> list[Call]:
        ran, calls = self.struck(self.begin(command), command, -1, KILL)
        assert ran.code == 0, ran.text
        return calls

    def numbers(self, command: str, *names: str) -> list[int]:
        """The calls of these names."""
        return [number for number, call in enumerate(self.calls(command)) if call.name in names]

    def check(self, command: str, at: int, fault: Fault) -> bool:
        """Whether the fault came to pass: with threads, a run may make fewer calls than another."""
        work = self.begin(command)
        ran, calls = self.struck(work, command, at, fault)
        if len(calls) <= at:
            return False
        where = f"{command}: {fault} at call {at} ({calls[at].name})"
        if fault == KILL:
            assert ran.code == -signal.SIGKILL, f"{where}: exit {ran.code}\n{ran.text}"
        assert "Traceback" not in ran.text, f"{where}\n{ran.text}"
        if ran.code not in (0, -signal.SIGKILL):
            assert ran.err.strip() or ran.out.strip(), f"{where}: failed without a word"
        assert work.settle() == [], f"{where}: a process outlived its engine"
        finished = ran.built if command == "all" else set()
        # The disk fails once, or to write: it gives every object at the second reading.
        lost = sorted(path.name for path in (work.root / "cache/quarantine").glob("*"))
        assert lost == [], f"{where}: sound objects were put aside: {lost}\n{ran.text}"
        again = work.json("all", code=None)
        assert again.code == 0, f"{where}: the next build fails\n{ran.text}\n{again.text}"
        assert "Traceback" not in again.text, f"{where}\n{again.text}"
        assert not finished & set(again.started), f"{where}: what had finished ran again"
        assert work.published() == self.want, f"{where}: other bytes"
        assert work("verify", code=None).code == 0, f"{where}: verify fails"
        return True

    def sample(self, tally: Tally, command: str, times: int) -> None:
        """Random faults. One beyond the calls of its run is drawn again."""
        calls = self.calls(command)
        pairs = [(at, fault) for at, call in enumerate(calls) for fault in FAULTS if fault.possible(call)]
        for _ in tally.upto(times):
            with tally.case():
                assert any(self.check(command, *tally.rng.choice(pairs)) for _ in range(20)), "no fault came to pass"


@pytest.fixture(scope="module")
def sweep(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    made = Sweep(shim, tmp_path_factory.mktemp("sweep").resolve())
    yield made
    made.struck_by.close()


def test_the_shim_sees_what_a_build_does(sweep: Sweep):
    calls = {call.name for call in sweep.calls("all")}
    assert {"mkdir", "write", "fsync", "read"} <= calls
    assert calls & {"rename", "renameat"}
    assert calls & {"open", "open64", "openat", "openat64"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_forked_command_is_like_one_that_is_started(sweep: Sweep, command: str):
    """But for what it does by the way of the imports, it makes the same calls; threads change their order."""
    runs = []
    for alone in (True, False):
        ran, calls = sweep.struck(sweep.begin(command), command, -1, KILL, alone=alone)
        assert ran.code == 0, ran.text
        runs.append(Counter(calls))
    differ = (runs[0] - runs[1]) + (runs[1] - runs[0])
    assert differ.total() <= 0.03 * runs[0].total(), differ


def test_a_sample_of_calls(sweep: Sweep, record_property: Callable[[str, object], None]):
    with tallied(record_property) as tally:
        for command, times in {"all": 3, tally.rng.choice(("gc", "verify", "report")): 1}.items():
            sweep.sample(tally, command, times)


def test_a_target_that_cannot_be_moved_into_place(sweep: Sweep):
    """The case that a random sample may miss: the system refuses the rename into build/."""
    renames = sweep.numbers("all", "rename")
    assert renames
    # Threads differ from run to run: now and then a fault finds no call left.
    assert sum(sweep.check("all", number, Fault(errno.EACCES)) for number in renames[-3:])


@pytest.mark.parametrize("call", ["close", "readdir64", "flock", "sendfile64"])
def test_calls_that_few_expect_to_fail(sweep: Sweep, call: str):
    numbers = sweep.numbers("all", call)
    assert numbers
    assert sum(sweep.check("all", number, Fault(errno.EIO)) for number in (numbers[0], numbers[-1]))


def test_a_disk_that_stays_full(sweep: Sweep):
    """From the first call on, and from each of the last writes on: those of state, after what is published."""
    assert sweep.check("all", 0, FULL)
    assert sum(sweep.check("all", number, FULL) for number in sweep.numbers("all", "write")[-4:])


@pytest.mark.parametrize("words", ["all --json", "-n all", "why b", "show b", "list", "verify", "cache stats"])
def test_a_read_only_disk_serves_what_is_there(sweep: Sweep, words: str):
    work = sweep.begin("what is built")
    ran, _ = sweep.struck(work, words, 0, Fault(errno.EROFS, stays=True), alone=True)
    assert ran.code == 0, ran.text
    assert "Traceback" not in ran.text
    assert work.published() == sweep.want


@pytest.mark.slow
def test_many_calls(sweep: Sweep, record_property: Callable[[str, object], None]):
    """A part of ``test_every_call``, which takes hours."""
    with tallied(record_property) as tally:
        for command, share in {"all": 0.55, "gc": 0.15, "verify": 0.05, "report": 0.25}.items():
            sweep.sample(tally, command, max(1, round(tries(400) * share)))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_call(sweep: Sweep, command: str, fault: Fault, record_property: Callable[[str, object], None]):
    if "CBUILD_EVERY_CALL" not in os.environ:
        pytest.skip("takes hours: set CBUILD_EVERY_CALL=1")
    with tallied(record_property) as tally:
        numbers = [number for number, call in enumerate(sweep.calls(command)) if fault.possible(call)]
        print(f"{command}, {fault}: {len(numbers)} of these")
        # In a random order, so that a run which does not reach its end has tried calls from all over.
        for at in tally.upto(tally.left(tally.rng.sample(mine := shard(numbers), len(mine)))):
            with tally.case(name=str(at)):
                assert any(sweep.check(command, at, fault) for _ in range(5)), f"call {at}: no fault came to pass"
