"""Whatever the command line, a command ends soon with a status it documents; what it refuses, it says in a line."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest
from command import Ran, Work
from damage import Hang, within
from fuzzing import modest
from quick import Quick
from sweeps import Tally, shard, tallied, tries

from compressbuild.cli.main import COMMANDS, cbuild

TEXT = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [length], baseline: a}
targets:
  a: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}]}
  b: {from: a, steps: [{toy.copy: {note: n}}]}
"""
STATUSES = {0, 1, 2, 3, 4}
SOUND = ("a", "b", "all")
HUGE = "9" * 5000  # more digits than Python turns into a number
WORDS = [
    *(
        "a",
        "b",
        "all",
        "f",
        "*",
        "?",
        "[",
        "a/",
        "build/a",
        "build/a/",
        "nowhere",
        "toy.mix",
        "length",
        "text",
        "torch",
    ),
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        "=",
        "a=b",
        "é",
        "\u2028",
        "\x1b[31m",
        "\t",
        "\n",
        "\x00",
        "a\x00b",
        "\udcff",
        "c\udcff",
    ),
    *("0", "-1", "1", "3.5", "1e999", "nan", "0x10", "１", "true", HUGE, "1GiB", "1" * 400 + "GiB", "30d", "1e400d"),
    *(".", "..", "f.txt", "folder", "fifo", "loop", "folder/x", "f.txt/x", "/proc/nowhere/x"),
    *("svg", "html", "json", "md", "n" * 300, "n" * 5000, "x/" * 3000, "vars.salt=2", "vars.salt=[", "targets.a=1"),
    *("targets.b.steps.0.toy.copy.note=\udcff", "=" * 50, "vars." + "x." * 2000 + "y=1", "vars.salt=" + "[" * 3000),
]
UNKNOWN = ["--nonsense", "--no-such=1", "-Z", "--js0n", "--\udcff", "--\x00", "--" + "o" * 3000]
WRITES = {"-o", "--output", "--into", "--trace", "--profile", "--cache-dir"}
OWN = [word for word in WORDS if not word.startswith(("/", "build"))]
"""What may be written to: places in the project, or beside it."""


def commands(
    group: click.Group = cbuild, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EVERY = list(commands())


class Line:
    """A random command line. ``must_fail``: something in it has no meaning to any command."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.must_fail = False
        words, command = rng.choice(EVERY)
        self.args = list(words)
        for option in rng.sample(command.params, k=min(len(command.params), rng.choice((0, 1, 1, 2, 4)))):
            self.args += self._written(option)
        for _ in range(rng.choice((0, 0, 1, 2))):
            self.args.insert(rng.randrange(len(words), len(self.args) + 1), rng.choice(WORDS))
        if rng.random() < 0.5:
            self._mutate(len(words))

    def _written(self, option: click.Parameter) -> list[str]:
        if isinstance(option, click.Argument):
            return [self.rng.choice(SOUND if self.rng.random() < 0.7 else WORDS)]
        assert isinstance(option, click.Option)
        name = self.rng.choice(option.opts)
        if option.is_flag:
            return [name]
        pool = OWN if name in WRITES else WORDS
        values = [self.rng.choice(pool) for _ in range(max(1, option.nargs))]
        if name.startswith("--") and option.nargs == 1 and self.rng.random() < 0.4:
            return [f"{name}={values[0]}"]
        return [name, *values]

    def _mutate(self, start: int) -> None:
        rng = self.rng
        match rng.randrange(8):
            case 0:
                at = rng.randrange(start, len(self.args) + 1)
                self.args.insert(at, rng.choice(UNKNOWN))
                self.must_fail = at == start and "--" not in self.args[:at]
            case 1:
                self.args = self.args[: rng.randrange(len(self.args) + 1)]
            case 2 if len(self.args) > start:
                self.args += self.args[start:] * rng.choice((1, 2, 200))
            case 3:
                rng.shuffle(self.args)
            case 4 if len(self.args) > start:
                del self.args[rng.randrange(len(self.args))]


@pytest.fixture
def project(fast_path: Path) -> Quick:
    work = Quick(fast_path / "around" / "work", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work.write("folder/file", "x")
    os.mkfifo(work.root / "fifo")
    (work.root / "loop").symlink_to("loop")
    work("all")
    return work


class Trial:
    """Runs command lines in copies of a project, as one may have removed or overwritten something."""

    def __init__(self, project: Quick) -> None:
        self._project = self._work = project
        self._lines = 0

    def run(self, args: list[str], *, must_fail: bool = False) -> None:
        if self._lines % 20 == 0:
            shutil.rmtree(self._project.root.parent / "copy", ignore_errors=True)
            self._work = self._project.copy(self._project.root.parent / "copy")
        self._lines += 1
        if args[:1] == ["watch"]:
            with suppress(Hang), within(3):  # it waits for changes, as it should
                sound(self._work(*args, code=None))
            return
        ran = modest(lambda: self._in_time(args))
        sound(ran)
        assert not must_fail or ran.code == 2, f"exit {ran.code}, though an option is unknown"

    def _in_time(self, args: list[str]) -> Ran:
        with within(20):
            return self._work(*args, code=None)


def sound(ran: Ran) -> None:
    assert ran.code in STATUSES, f"exit {ran.code}\n{ran.text[-2000:]}"
    assert "Traceback" not in ran.text, ran.text[-2000:]
    assert ran.code == 0 or ran.text.strip(), f"exit {ran.code} without a word"


def shown(args: list[str]) -> str:
    return " ".join(ascii(word)[:60] for word in args)[:400]


def lines(project: Quick, tally: Tally, count: int) -> None:
    trial = Trial(project)
    for _ in tally.upto(count):
        line = Line(tally.rng)
        with tally.case(shown(line.args)):
            trial.run(line.args, must_fail=line.must_fail)


def singles() -> list[list[str]]:
    """Each option and argument of each command with each word, the rest as it should be."""
    found = []
    for words, command in EVERY:
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                name = option.opts[-1]
                rest = ["a"] * sum(each.required for each in arguments)
                pool = OWN if name in WRITES else WORDS
                found += [[*words, *rest, name, *[word] * option.nargs] for word in pool]
            elif isinstance(option, click.Argument):
                found += [[*words, *["a"] * arguments.index(option), word] for word in WORDS]
    return found


def test_some_command_lines(project: Quick, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        lines(project, tally, 60)


@pytest.mark.slow
def test_many_command_lines(project: Quick, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        lines(project, tally, tries(10_000))


@pytest.mark.slow
def test_every_option_with_every_word(project: Quick, record_property: Callable[[str, object], None]) -> None:
    trial = Trial(project)
    with tallied(record_property) as tally:
        for args in tally.upto(shard(singles())):
            with tally.case(shown(args)):
                trial.run(args)


def processes(root: Path, tally: Tally, count: int) -> None:
    """The same in processes of their own, which see bytes and have the no-op and the streams of a real command."""
    work = Work(root / "process", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work("all")
    began = time.monotonic()
    work("list")
    start = time.monotonic() - began
    for _ in tally.upto(count):
        line = Line(tally.rng)
        args = [word.replace("\0", "") for word in line.args]  # no process can be given a NUL
        with tally.case(shown(args)):
            began = time.monotonic()
            ran = work(*args, code=None, timeout=30)
            assert time.monotonic() - began < 10 * start + 5, "slow"
            sound(ran)


def test_some_processes(fast_path: Path, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        processes(fast_path, tally, 4)


@pytest.mark.slow
def test_many_processes(fast_path: Path, record_property: Callable[[str, object], None]) -> None:
    with tallied(record_property) as tally:
        processes(fast_path, tally, tries(500))


def test_the_sweep_knows_every_command() -> None:
    assert {words[0] for words, _ in EVERY} == set(COMMANDS)
    assert {("cache", "gc"), ("plugins", "new")} <= {words for words, _ in EVERY}
