"""A signal ends a command at any moment with 128 + its number: no traceback, no process, nothing half-made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Work, finish
from sweeps import Tally, tallied, tries

from compressbuild.cli import main

FILE = """\
version: 1
models: {f: {file: f.txt}}
targets:
  a: {from: f, steps: [toy.mix: {salt: 1}, toy.copy: {seconds: 0.3}, toy.mix: {salt: 2}]}
  b: {from: f, steps: [toy.copy: {seconds: 0.2}, toy.mix: {salt: 3}]}
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
START = 0.12  # seconds in which Python itself starts, before any code of ours


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "work", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", FILE)
    return work


def leftovers(work: Work) -> list[str]:
    """Temporary files and directories of the cache, of what is published, and of the state."""
    found = [*(work.root / "cache/tmp").glob("*"), *(work.root / "build").glob(".*")]
    found += [
        p for p in (work.root / ".cbuild").glob("*") if p.name.partition(".")[0] in ("stat", "traces") and p.suffix
    ]
    return [str(path.relative_to(work.root)) for path in found]


def interrupted(work: Work, number: int, delay: float, *, again: bool = False) -> int:
    process = work.start("all")
    time.sleep(delay)
    os.killpg(process.pid, number)
    if again:
        time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
    ran = finish(process, 60)
    assert "Traceback" not in ran.text, ran.text
    assert work.settle() == []
    assert leftovers(work) == []
    return ran.code


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("again", [False, True], ids=["once", "and Ctrl-C again"])
def test_while_a_node_runs(work: Work, number: signal.Signals, again: bool) -> None:
    process = work.start("all", "--json")
    line = ""
    while "toy.copy" not in line:
        line = process.stdout.readline()
    os.killpg(process.pid, number)
    if again:
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
    ran = finish(process, 60)
    assert ran.code == 128 + number
    assert ran.err == "error: interrupted; finished nodes are kept\n" or ran.err.startswith("interrupted")
    assert work.settle() == []
    assert leftovers(work) == []
    assert "up to date" in work("all").out


def test_while_a_class_is_made(work: Work, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Python 3.11 wraps what a ``__set_name__`` raises in a RuntimeError."""

    def wrapped(*args: object, **options: object) -> None:
        raise RuntimeError("Error calling __set_name__ on 'Field' instance") from KeyboardInterrupt()

    monkeypatch.setattr(main.cbuild, "main", wrapped)
    assert main.main(["all"]) == 130
    assert capfd.readouterr().err == "interrupted\n"


def sweep(work: Work, tally: Tally, rounds: int) -> None:
    for _ in tally.upto(rounds):
        number, delay = tally.rng.choice(SIGNALS), START + tally.rng.random() * 1.2
        again = tally.rng.random() < 0.3
        # Of two that wait for a busy process, Python hears the one with the lower number first.
        ends = {0, 128 + number} | ({130} if again and number > signal.SIGINT else set())
        with tally.case(f"{number.name} after {delay:.3f} s"):
            assert interrupted(work, number, delay, again=again) in ends
        if tally.rng.random() < 0.3:
            work.write("f.txt", f"text {tally.tried}")
    assert "up to date" in work("all").out


def test_at_random_moments(work: Work, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        sweep(work, tally, 5)


@pytest.mark.slow
def test_at_many_random_moments(work: Work, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        sweep(work, tally, tries(300))


def test_a_signal_that_is_ignored_stays_so(work: Work) -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = work.start("all", "--json")
    finally:
        signal.signal(signal.SIGHUP, before)
    while "toy.copy" not in process.stdout.readline():
        pass
    os.killpg(process.pid, signal.SIGHUP)
    assert finish(process, 60).code == 0


SCRIPT = """\
import os, signal, sys
{before}
from compressbuild.__main__ import main
{after}
sys.exit(main())
"""
COME = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize("ignored", [False, True], ids=["heard", "ignored"])
def test_ctrl_c_between_the_import_and_the_command(tmp_path: Path, ignored: bool) -> None:
    """The script that an installer writes, with a signal as soon as code of ours has run."""
    script = tmp_path / "cbuild"
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)" if ignored else ""
    script.write_text(SCRIPT.format(before=before, after=COME))
    ran = subprocess.run([sys.executable, script, "--version"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == ((0, "") if ignored else (130, ""))


HOOKED = """\
import os, signal, sys
sys.argv[0] = "/usr/bin/cbuild"
seen = []


def hook(event, arguments):  # at each file that is opened, each module that is imported, each code that is run
    if event in ("import", "open", "marshal.loads", "exec"):
        seen.append(signal.getsignal(2) is signal.default_int_handler)
        if len(seen) == {at}:
            os.kill(os.getpid(), signal.SIGINT)


sys.addaudithook(hook)
from compressbuild.__main__ import main
print(sum(seen), len(seen))
"""


def test_ctrl_c_at_each_step_of_the_first_import() -> None:
    """Python finds and reads the package and the module of the command; from then on a Ctrl-C is ours, and silent."""

    def run(at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", HOOKED.format(at=at)], capture_output=True, text=True, check=False, timeout=60
        )

    pythons, steps = map(int, run(0).stdout.split())
    assert pythons <= 8, "more is done before the handler is there"
    assert steps > pythons
    for at in range(pythons + 1, steps + 1):
        ran = run(at)
        assert (ran.returncode, ran.stderr) == (130, ""), f"at step {at} of {steps}"


def test_whoever_imports_main_keeps_its_own_answer(tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text(SCRIPT.format(before="", after="print(signal.getsignal(2) is signal.default_int_handler)"))
    ran = subprocess.run([sys.executable, script, "--version"], capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[0] == "True"
