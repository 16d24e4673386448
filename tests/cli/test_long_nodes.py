"""A node that runs for long says so: in pipes, on terminals that can do nothing and on those that can."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys

import pytest
from command import Work

from compressbuild.execute.events import NodeFinished, NodeRunning, NodeWorking

FILE = """\
version: 1
preload: [slow_to_import]
models: {f: {file: f.txt}}
datasets: {d: {loader: "loading:texts"}}
targets: {t: {from: f, steps: [{toy.copy: {data: d}}]}}
"""
LOADER = """\
import time
def texts():
    for number in range(4):
        print(f"text {number}")
        time.sleep(0.2)
        yield str(number)
"""
MAIN = """\
import sys
from compressbuild.execute import heartbeat
heartbeat.AFTER = (0.3, 0.5)
from compressbuild.__main__ import main
sys.exit(main())
"""
"""``cbuild`` with short intervals."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Work:
    work = Work(tmp_path_factory.mktemp("long") / "long", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", FILE)
    work.write("loading.py", LOADER)
    work.write("library/slow_to_import.py", "import time\ntime.sleep(0.6)\n")
    return work


def build(work: Work, *words: str, terminal: bool = False, again: bool = False, **environ: str) -> str:
    """All that a build with an empty cache prints; ``again``: though what ran before is remembered."""
    if not again:
        shutil.rmtree(work.root / ".cbuild", ignore_errors=True)
    env = work.environment(**environ)
    env["PYTHONPATH"] = os.pathsep.join([str(work.root / "library"), env["PYTHONPATH"]])
    ours, theirs = pty.openpty() if terminal else os.pipe()
    command = [sys.executable, "-c", MAIN, "t", *words, "--cache-dir", "cache-" + os.urandom(4).hex()]
    process = subprocess.Popen(command, cwd=work.root, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other side of a terminal is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode()


def plain(said: str) -> list[str]:
    """Lines of the node, with numbers that vary replaced, each once."""
    assert "\x1b" not in said
    lines = (re.sub(r"\d+\.\d+ s", "N s", line) for line in said.splitlines() if "t/toy.copy" in line)
    return list(dict.fromkeys(re.sub(r"text \d", "text N", line) for line in lines))


LINES = [
    "running   t/toy.copy  N s starting the worker for slow_to_import",
    "running   t/toy.copy  N s (+ N s starting the worker for slow_to_import)  | text N",
    "built     t/toy.copy  N s (+ N s starting the worker for slow_to_import)",
]


@pytest.mark.parametrize(
    ("terminal", "environ"),
    [(True, {"TERM": "dumb"}), (False, {"TERM": "xterm", "CI": "true"})],
    ids=["dumb", "pipe"],
)
def test_lines_at_intervals(project: Work, terminal: bool, environ: dict[str, str]) -> None:
    lines = plain(build(project, terminal=terminal, **environ))
    silent = LINES[1].removesuffix("  | text N")  # it has printed nothing yet
    assert [line for line in lines if line != silent] == LINES


def test_the_seconds_add_up(project: Work) -> None:
    """Those of the line are the node's own; with those of the start they are what passed."""
    from compressbuild.execute.events import decode

    events = [decode(line) for line in build(project, "--json").splitlines()]
    (working,) = [event for event in events if isinstance(event, NodeWorking) and event.node == "t/toy.copy"]
    (finished,) = [event for event in events if isinstance(event, NodeFinished) and event.node == "t/toy.copy"]
    started = next(event for event in events if getattr(event, "log", None) and event.node == "t/toy.copy")
    assert 0.6 <= working.starting == finished.starting
    assert 0.8 <= finished.seconds < finished.starting + finished.seconds <= finished.time - started.time + 0.05
    reports = [event for event in events if isinstance(event, NodeRunning)]
    assert [report.seconds > 0 for report in reports][:: len(reports) - 1] == [False, True]
    assert reports[0].expected is None
    again = [decode(line) for line in build(project, "--json", again=True).splitlines()]
    assert next(e for e in again if isinstance(e, NodeRunning)).expected == finished.seconds, "the node's own"


def test_the_live_row_says_the_same(project: Work) -> None:
    said = build(project, terminal=True, TERM="xterm-256color", COLUMNS="150", NO_COLOR="1")
    assert "starting the worker for slow_to_import" in said
    assert re.search(r"text \d", said)
    assert "running   t/toy.copy" not in said, "lines are for those who have no rows"
    assert "starting the worker for slow_to_import)" in said, "and the line that stays names it"
    assert not re.search(r"\x1b\[(?:\d+;)*[349]\d(?:;\d+)*m", said), "NO_COLOR"
