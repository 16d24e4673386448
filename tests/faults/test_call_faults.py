"""Every file-system call of a whole command fails, below Python, or is its last: a plain build sets it right.

The command is a process, forked from one that has imported the engine; what sets it right runs in this one. A few
commands are started as users start them, so that what is done before the imports counts, too.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from command import Ran, finish
from forked import Forked
from quick import Quick
from sweeps import Tally, shard, tallied, tries


class Fault(NamedTuple):
    """``number``: an errno, or 0 for SIGKILL. ``stays``: from then on, nothing in the project can be changed."""

    number: int
    stays: bool = False

    def __str__(self) -> str:
        return (errno.errorcode[self.number] if self.number else "SIGKILL") + (" for good" if self.stays else "")

    def possible(self, call: Call) -> bool:
        """Whether the system can give it there, and it is another case than at the next call.

        To die before a call that only looks leaves on the disk what dying before the next one does; likewise, a disk
        is full for good, or read-only, from the next change on.
        """
        if not self.number or self.stays or self.number in (errno.ENOSPC, errno.EROFS):
            return call.changes
        if self.number == errno.EMFILE:
            return call.name.startswith("open")
        return self.number != errno.EACCES or call.name not in OF_OPEN_FILES


class Call(NamedTuple):
    name: str
    changes: bool = False


KILL = Fault(0)
FULL = Fault(errno.ENOSPC, stays=True)
FAULTS = (
    KILL,
    *map(Fault, (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS)),
    *(Fault(number, stays=True) for number in (errno.ENOSPC, errno.EIO, errno.EROFS)),
)
OF_OPEN_FILES = {
    *("close", "copy_file_range", "fchmod", "fdatasync", "fdopendir", "flock", "fstat64", "fsync", "ftruncate64"),
    *("pread64", "pwrite64", "read", "readdir64", "sendfile64", "write"),
}  # who may, is asked when a file is opened
COMMANDS = {"all": ("all", "--json"), "gc": ("cache", "gc"), "verify": ("verify",), "report": ("report",)}
SECONDS = 60
"""After these, a command counts as hung. The slowest takes two on a loaded machine."""
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
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): faults cannot be injected below Python")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Sweep:
    """A project that each fault starts from, and what it publishes without one."""

    def __init__(self, shim: Path, root: Path) -> None:
        self.shim, self.root = shim, root
        self.forked = Forked(root / "forked", shim, "shim_begin")
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
        log = self.root / "calls"
        log.unlink(missing_ok=True)
        shim: dict[str, object] = {"SHIM_ROOT": work.root, "SHIM_LOG": log, "SHIM_AT": at, "SHIM_FAULT": fault.number}
        shim |= {"SHIM_STAYS": 1} if fault.stays else {}
        shim |= {"LD_PRELOAD": self.shim} if alone else {}
        env = {name: str(value) for name, value in shim.items()}
        words = COMMANDS.get(command, tuple(command.split()))
        ran = finish(work.start(*words, **env), SECONDS) if alone else self.forked.run(work, words, env, SECONDS)
        lines = [line.split() for line in log.read_text().splitlines()]
        return ran, [Call(name, bool(changes)) for _, name, *changes in lines]

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
    made.forked.close()


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
        for at in tally.upto(tally.rng.sample(mine := shard(numbers), len(mine))):
            with tally.case():
                sweep.check(command, at, fault)
