"""On a terminal: colours unless NO_COLOR, and no escape at all where TERM says that it does nothing."""

from __future__ import annotations

import os
import pty
import re

import pytest
from command import CBUILD, Work

COMMANDS = [
    ("all",),
    ("list",),
    ("show", "second"),
    ("why", "second"),
    ("history", "second"),
    ("plugins",),
    ("doctor",),
    ("nosuch",),
    ("compare", "first", "second"),
]


def typed(work: Work, *words: str, **environ: str) -> bytes:
    """What a command writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(work.root)
        os.execve(CBUILD, ["cbuild", *words], {**work.environment(), **environ})
    said = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side has gone
            break
        if not data:
            break
        said += data
    os.close(terminal)
    os.waitpid(pid, 0)
    return said


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_dumb_terminal_gets_plain_text(toys: Work, words: tuple[str, ...]):
    (toys.root / "f.txt").write_text("other")  # something to build
    said = typed(toys, *words, TERM="dumb")
    assert said
    assert b"\x1b" not in said


def test_colours_only_where_they_are_wanted(toys: Work):
    colour = re.compile(rb"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m")
    toys.edit("Compressfile", "{toy.copy: {note:", "{toy.copy: {seconds: 0.4, note:")  # long enough to be drawn
    (toys.root / "f.txt").write_text("other")
    assert colour.search(typed(toys, "all", TERM="xterm-256color"))
    (toys.root / "f.txt").write_text("another")
    assert not colour.search(typed(toys, "all", TERM="xterm-256color", NO_COLOR="1"))
