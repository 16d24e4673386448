"""On a terminal: colours unless NO_COLOR, and no escape at all where TERM says that it does nothing."""

from __future__ import annotations

import importlib
import os
import pty
import re
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from unittest import mock

import pytest
from command import Inline
from inline import InlineExecutor

from compressbuild.cli.main import COMMANDS, main

SECONDS = 60.0
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m")
DUMB, PLAIN, FULL = {"TERM": "dumb"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "xterm-256color"}
USES = {
    "init": ("init", "nosuch.onnx"),
    "build": ("build", "all"),
    "watch": ("watch", "all"),
    "why": ("why", "second"),
    "list": ("list",),
    "show": ("show", "second"),
    "affected": ("affected", "--since", "HEAD"),
    "compare": ("compare", "first", "second"),
    "history": ("history", "second"),
    "tune": ("tune", "tuned", "--minimize", "length"),
    "report": ("report",),
    "advise": ("advise",),
    "profile": ("profile", "second"),
    "graph": ("graph", "--format", "mermaid"),
    "verify": ("verify",),
    "sign": ("sign", "--key", "nosuch.pem"),
    "clean": ("clean",),
    "push": ("push", "first", "./models"),
    "sbom": ("sbom", "first"),
    "lock": ("lock",),
    "cache": ("cache", "stats"),
    "env": ("env", "list"),
    "platforms": ("platforms",),
    "recipes": ("recipes",),
    "plugins": ("plugins",),
    "doctor": ("doctor",),
    "help": ("help", "toy.copy"),
    "skill": ("skill",),
    "mcp": ("mcp",),
    "schema": ("schema",),
}
"""How each command is used."""
REFUSED = ("second", "--set", "vars.limit=0")
MORE = [
    REFUSED,
    ("all",),
    ("-n", "all"),
    ("-v", "all"),
    ("--help",),
    ("nosuch",),
    ("list", "--json"),
    ("cache", "gc"),
    ("cache", "verify"),
    ("cache", "push"),
    ("env", "make", "nosuch"),
]
FAIL = [
    *map(USES.get, ("init", "affected", "profile", "sign")),
    REFUSED,
    ("nosuch",),
    ("cache", "push"),
    ("env", "make", "nosuch"),
]
"""There is no such file, revision, runtime, key, target, remote cache or environment, or a gate fails."""
TUNED = """\
  tuned:
    from: first
    steps: [{toy.copy: {note: {choose: [x, y]}}}]
"""
WRONG = "version: 1\ntargets: {a: {from: nosuch, stepz: []}}\n"


def typed(work: Inline, *words: str, end: str = "", **environ: str) -> tuple[int, bytes]:
    """Its exit status, and what a command writes to a terminal. ``end``: a text after which it is interrupted."""
    pid, terminal = pty.fork()
    if pid == 0:
        status = 1
        try:
            with (
                open(0, closefd=False) as sys.stdin,
                open(1, "w", closefd=False) as sys.stdout,
                open(2, "w", closefd=False) as sys.stderr,
                work.world(*words, **environ),
                mock.patch("compressbuild.build.run.LocalExecutor", side_effect=lambda *_, **__: InlineExecutor()),
            ):
                status = main(list(words))
        except BaseException:  # noqa: BLE001  pytest's stack must not unwind twice
            os.write(1, traceback.format_exc().encode())
        finally:
            os._exit(status)
    said, deadline = b"", time.monotonic() + SECONDS
    os.write(terminal, b"\x04")  # nobody has anything to say
    while True:
        assert time.monotonic() < deadline, f"{' '.join(words)} does not end: {said!r}"
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side has gone
            break
        said += data
        if end and end.encode() in said:
            os.kill(pid, signal.SIGINT)
            end = ""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def used(work: Inline, words: tuple[str, ...], **environ: str) -> bytes:
    """What a command writes. AssertionError if it should succeed and fails, or the other way round."""
    status, said = typed(work, *words, end="watching" if "watch" in words else "", **environ)
    if work.root.name != "wrong" and "--help" not in words and "--nosuch-option" not in words:
        assert (status not in (0, 130)) == (words in FAIL), said.decode()
    assert b"Traceback" not in said, said.decode()
    assert said.strip() or words in (("clean",), ("mcp",)), "it says nothing"
    return said


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Once, for all the processes that are forked."""
    for name in ("build.run", "evaluate.target", *(f"cli.{command}" for command in COMMANDS)):
        importlib.import_module(f"compressbuild.{name}")


@pytest.fixture
def project(toys: Inline) -> Inline:
    toys.edit("Compressfile", "groups:", f"{TUNED}groups:")
    toys.edit("Compressfile", "vars: {", "vars: {limit: 9, ")
    toys.edit("Compressfile", "max: 9", 'max: "${vars.limit}"')
    return toys


@pytest.fixture
def wrong(tmp_path: Path) -> Inline:
    """A Compressfile with a mistake, which is shown with a caret."""
    work = Inline(tmp_path / "wrong", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", WRONG)
    return work


def test_no_command_is_missing_here():
    assert list(USES) == list(COMMANDS)


@pytest.mark.parametrize("words", [*USES.values(), *MORE], ids=" ".join)
def test_what_is_plain_is_plain(project: Inline, words: tuple[str, ...]):
    """Under NO_COLOR, a line that is drawn over may be moved on and made bold, but not coloured."""
    for text, environ in (("other", DUMB), ("more", PLAIN)):
        if {"all", "tuned"} & {*words}:
            project.write("f.txt", text)  # something to build
        said = used(project, words, **environ)
        assert not (COLOUR.search(said) if environ is PLAIN else b"\x1b" in said)


@pytest.mark.parametrize("command", COMMANDS)
def test_errors_and_help_are_plain(project: Inline, wrong: Inline, command: str):
    for work, words in [
        (project, (command, "--help")),
        (project, (command, "--nosuch-option")),
        (wrong, USES[command]),
    ]:
        assert b"\x1b" not in used(work, words, **DUMB)
        assert not COLOUR.search(used(work, words, **PLAIN))


def test_colours_where_they_are_wanted(project: Inline):
    """Else the tests above prove nothing."""
    project.edit("Compressfile", '{toy.copy: {note: "', '{toy.copy: {seconds: 0.4, note: "')  # long enough to be drawn
    assert COLOUR.search(used(project, ("all",), **FULL))
    assert COLOUR.search(used(project, REFUSED, **FULL))
