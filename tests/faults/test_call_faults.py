"""Every file-system call of a whole command fails, below Python, or is its last: a plain build sets it right.

The command is a process; what sets it right runs in this one, which takes a third of the time.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from command import Ran, finish
from quick import Quick
from sweeps import Tally, shard, tallied, tries


class Fault(NamedTuple):
    """``number``: an errno, or 0 for SIGKILL. ``stays``: from then on, nothing in the project can be changed."""

    number: int
    stays: bool = False

    def __str__(self) -> str:
        return (errno.errorcode[self.number] if self.number else "SIGKILL") + (" for good" if self.stays else "")


KILL = Fault(0)
FULL = Fault(errno.ENOSPC, stays=True)
FAULTS = (
    KILL,
    *map(Fault, (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS)),
    *(Fault(number, stays=True) for number in (errno.ENOSPC, errno.EIO, errno.EROFS)),
)
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

    def struck(self, work: Quick, command: str, at: int, fault: Fault) -> tuple[Ran, list[str]]:
        """What the command did, and its calls by name."""
        log = self.root / "calls"
        log.unlink(missing_ok=True)
        shim = {"LD_PRELOAD": self.shim, "SHIM_ROOT": work.root, "SHIM_LOG": log, "SHIM_AT": at}
        shim |= {"SHIM_FAULT": fault.number} | ({"SHIM_STAYS": 1} if fault.stays else {})
        words = COMMANDS.get(command, command.split())
        process = work.start(*words, **{name: str(value) for name, value in shim.items()})
        ran = finish(process, SECONDS)
        return ran, [line.split()[1] for line in log.read_text().splitlines()]

    def calls(self, command: str) -> list[str]:
        ran, calls = self.struck(self.begin(command), command, -1, KILL)
        assert ran.code == 0, ran.text
        return calls

    def check(self, command: str, at: int, fault: Fault) -> bool:
        """Whether the fault came to pass: with threads, a run may make fewer calls than another."""
        work = self.begin(command)
        ran, calls = self.struck(work, command, at, fault)
        if len(calls) <= at:
            return False
        where = f"{command}: {fault} at call {at} ({calls[at]})"
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
        count = len(self.calls(command))
        for _ in tally.upto(times):
            with tally.case():
                assert any(
                    self.check(command, tally.rng.randrange(count), tally.rng.choice(FAULTS)) for _ in range(20)
                ), "no fault came to pass"


@pytest.fixture(scope="module")
def sweep(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(shim, tmp_path_factory.mktemp("sweep").resolve())


def test_the_shim_sees_what_a_build_does(sweep: Sweep):
    calls = set(sweep.calls("all"))
    assert {"mkdir", "write", "fsync", "read"} <= calls
    assert calls & {"rename", "renameat"}
    assert calls & {"open", "open64", "openat", "openat64"}


def test_a_sample_of_calls(sweep: Sweep, record_property: Callable[[str, object], None]):
    with tallied(record_property) as tally:
        for command, times in {"all": 3, tally.rng.choice(("gc", "verify", "report")): 1}.items():
            sweep.sample(tally, command, times)


def test_a_target_that_cannot_be_moved_into_place(sweep: Sweep):
    """The case that a random sample may miss: the system refuses the rename into build/."""
    renames = [number for number, call in enumerate(sweep.calls("all")) if call == "rename"]
    assert renames
    # Threads differ from run to run: now and then a fault finds no call left.
    assert sum(sweep.check("all", number, Fault(errno.EACCES)) for number in renames[-3:])


@pytest.mark.parametrize("call", ["close", "readdir64", "flock", "sendfile64"])
def test_calls_that_few_expect_to_fail(sweep: Sweep, call: str):
    numbers = [number for number, each in enumerate(sweep.calls("all")) if each == call]
    assert numbers
    assert sum(sweep.check("all", number, Fault(errno.EIO)) for number in (numbers[0], numbers[-1]))


def test_a_disk_that_stays_full(sweep: Sweep):
    """From the first call on, and from the last write on."""
    calls = sweep.calls("all")
    assert sweep.check("all", 0, FULL)
    assert sweep.check("all", max(number for number, each in enumerate(calls) if each == "write"), FULL)


@pytest.mark.parametrize("words", ["all --json", "-n all", "why b", "show b", "list", "verify", "cache stats"])
def test_a_read_only_disk_serves_what_is_there(sweep: Sweep, words: str):
    work = sweep.begin("what is built")
    ran, _ = sweep.struck(work, words, 0, Fault(errno.EROFS, stays=True))
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
        for at in tally.upto(shard(range(len(sweep.calls(command))))):
            with tally.case():
                sweep.check(command, at, fault)
