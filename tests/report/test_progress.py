"""What people and programs see of a build while it runs."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from compressbuild.execute import events
from compressbuild.execute.events import (
    Event,
    NodeFinished,
    NodeProgress,
    NodeRunning,
    NodeStarted,
    NodeWorking,
    decode,
)
from compressbuild.execute.failure import RAISED
from compressbuild.report.text.lines import log_tail
from compressbuild.report.text.progress import JsonProgress, LiveProgress, PlainProgress
from compressbuild.words import duration

BUILD: list[Event] = [
    events.BuildStarted(time=0.0, targets=("slim",), nodes=3, jobs=2, expected={"slim/finetune": 60.0}),
    NodeFinished(time=0.1, node="digits", label="digits", status="cached"),
    NodeStarted(time=0.2, node="slim/prune", label="slim/prune", reason="ratio: 0.5 → 0.3"),
    NodeFinished(time=3.3, node="slim/prune", label="slim/prune", status="built", seconds=3.14),
    NodeStarted(time=3.3, node="slim/finetune", label="slim/finetune"),
    NodeWorking(time=3.4, node="slim/finetune", starting=0.1),
    NodeProgress(time=4.0, node="slim/finetune", done=1, total=4, values={"loss": 0.25, "lr": None}),
    NodeFinished(time=65.0, node="slim/finetune", label="slim/finetune", status="skipped"),
    events.TargetFinished(time=66.0, target="slim", status="failed", reason="slim/finetune was skipped"),
    events.BuildFinished(time=66.0, exit_code=1, seconds=66.0, counts={"built": 1, "cached": 1, "skipped": 1}),
]


def _plain(stream: list[Event], *, verbose: bool = False) -> str:
    file = io.StringIO()
    progress = PlainProgress(file, verbose=verbose)
    for event in stream:
        progress(event)
    return file.getvalue()


def test_plain_lines_name_what_was_done() -> None:
    assert _plain(BUILD) == ("built     slim/prune  3.1 s\n")


def test_verbose_lines_say_why_and_what_was_not_done() -> None:
    assert _plain(BUILD, verbose=True) == (
        "cached    digits\n"
        "running   slim/prune  (ratio: 0.5 → 0.3)\n"
        "built     slim/prune  3.1 s\n"
        "running   slim/finetune\n"
        "skipped   slim/finetune\n"
    )


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({"starting": 10.0, "preload": ("torch", "torch.export", "onnx")}, "10 s starting the worker for torch, onnx"),
        ({"starting": 10.0, "preload": tuple("abcd")}, "10 s starting the worker for a, b, c, …"),
        ({"starting": 10.0}, "10 s starting the worker"),
        ({"starting": 0.1, "seconds": 60.0}, "1:00"),
        ({"seconds": 60.0, "expected": 200.0, "said": "epoch 3"}, "1:00 of about 3:20  | epoch 3"),
        ({"seconds": 60.0, "done": 48.0}, "1:00  48 so far"),
        ({"seconds": 60.0, "done": 0.6875, "total": 1}, "1:00  69 %"),
        ({"seconds": 60.0, "done": 3.5, "total": 10}, "1:00  35 %"),
        ({"seconds": 60.0, "starting": 19.3}, "1:00 (+ 19 s starting the worker)"),
        (
            {
                "seconds": 60.0,
                "done": 3,
                "total": 10,
                "values": {"loss": 0.25, "lr": None, "phase": "\x1b[2J"},
                "said": "x",
            },
            "1:00  3/10  loss 0.25  lr nan  phase �[2J",
        ),
    ],
)
def test_a_long_node_says_what_it_does(said: dict[str, Any], line: str) -> None:
    event = NodeRunning(node="slim/finetune", label="slim/finetune", **said)
    assert _plain([event]) == f"running   slim/finetune  {line}\n"


def test_the_start_of_a_process_is_named_beside_the_work() -> None:
    """What took 20 s is not shown as 0.71 s."""
    first = NodeFinished(node="q", label="q", status="built", seconds=0.71, starting=19.3, preload=("onnx", "numpy"))
    assert _plain([first]) == "built     q  0.71 s (+ 19 s starting the worker for onnx, numpy)\n"
    assert _plain([msgspec.structs.replace(first, starting=0.02)]) == "built     q  0.71 s\n"


def test_a_failure_shows_what_is_needed_to_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "logs" / "a.log"
    log.parent.mkdir()
    log.write_text("".join(f"line {n}\n" for n in range(25)) + f"\x1b[31mred\n{RAISED}\nTraceback\n  of the engine\n")
    trace = 'Traceback:\n  File "mine.py", line 1'
    failed = NodeFinished(
        node="a", label="a/distill", status="failed", seconds=1.5, cause="raised", error="ValueError: no",
        hint="try yes", trace=trace, log=str(log),
    )  # fmt: skip
    lines = _plain([failed]).splitlines()
    assert lines[:6] == [
        "failed    a/distill  1.5 s  raised",
        "  error: ValueError: no",
        "  hint: try yes",
        "  Traceback:",
        '    File "mine.py", line 1',
        "  | … 6 lines before",
    ]
    assert lines[6] == "  | line 6"
    assert lines[-3:] == ["  | line 24", "  | �[31mred", "  log: logs/a.log"]


def test_a_failure_without_a_log_is_told_all_the_same(tmp_path: Path) -> None:
    failed = NodeFinished(
        node="a", label="a", status="failed", cause="unavailable", error="cannot", log=str(tmp_path / "x")
    )
    assert _plain([failed]).splitlines()[:2] == ["failed    a  unavailable", "  error: cannot"]
    assert log_tail(tmp_path / "x") == ([], 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.04 s"), (3.14, "3.1 s"), (59.4, "59 s"), (59.7, "1:00"), (187, "3:07"), (3723, "1:02:03")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_json_is_the_event_stream_and_nothing_else() -> None:
    file = io.StringIO()
    progress = JsonProgress(file)
    for event in BUILD:
        progress(event)
    assert [decode(line) for line in file.getvalue().splitlines()] == BUILD


def test_live_rows_show_progress_values_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setattr("compressbuild.report.text.progress.time.time", lambda: 14.0)
    file = io.StringIO()
    with LiveProgress(file, terminal=True) as live:
        for event in BUILD[:7]:
            live(event)
        live._live.refresh()
        screen = file.getvalue()
    assert "built     slim/prune  3.1 s" in screen
    last = screen[screen.rindex("slim/finetune") :]
    assert "1/4" in last
    assert "loss 0.25" in last
    assert "lr nan" in last
    assert "11 s" in last, "elapsed: 14.0 − 3.4"
    assert "32 s left" in last, "three more quarters of 10.6 s"
    assert "2 of 3 nodes · 14 s · at most about 32 s left" in last


def test_live_rows_beyond_the_screen_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "8")
    file = io.StringIO()
    with LiveProgress(file, terminal=True) as live:
        for number in range(9):
            live(NodeStarted(node=str(number), label=f"node-{number}"))
        live._live.refresh()
        screen = file.getvalue()
    assert "4 more run" in screen
    assert "node-8" not in screen


LIVE = """
import sys, time
from compressbuild.execute.events import *
from compressbuild.report.text.progress import LiveProgress
assert "rich" not in sys.modules
with LiveProgress() as live:
    live(BuildStarted(targets=("a",), nodes=1))
    live(NodeStarted(node="a", label="a/train"))
    live(NodeWorking(node="a"))
    for step in range(4):
        live(NodeProgress(node="a", done=step, total=4, values={"loss": 1 / (step + 1)}))
        time.sleep(0.15)
    live(NodeFinished(node="a", label="a/train", status="built", seconds=0.6))
print("after")
"""


def test_live_display_on_a_terminal_ends_with_plain_lines() -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
    process = subprocess.Popen([sys.executable, "-c", LIVE], stdout=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other side of a terminal is closed
            break
        seen += part
    os.close(ours)
    assert process.wait() == 0, seen
    text = seen.decode()
    assert "3/4" in text
    assert "loss 0.25" in text
    assert "built     a/train  0.60 s" in text
    assert text.rstrip().endswith("after")


def test_importing_the_observers_does_not_import_rich() -> None:
    code = (
        "import sys, compressbuild.report.text.progress, compressbuild.report.data.trace; print('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
