"""When a node that runs for long is reported, and with what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressbuild.execute.events import NodeRunning
from compressbuild.execute.heartbeat import AFTER, Heartbeat
from compressbuild.execute.logfile import last_line


class Watched(Heartbeat):
    """With a clock that jumps from report to report."""

    def __init__(self, after: tuple[float, ...] | None = None) -> None:
        super().__init__(after, clock=lambda: self.now)
        self.now = 100.0

    def until(self, seconds: float) -> list[tuple[float, NodeRunning]]:
        """What is reported until then, and when."""
        found: list[tuple[float, NodeRunning]] = []
        while (pause := self.pause()) is not None and self.now + pause <= 100.0 + seconds:
            self.now += pause
            found += [(self.now - 100.0, event) for event in self.due()]
        self.now = 100.0 + seconds
        return found


def test_reports_become_rare() -> None:
    watched = Watched()
    watched.started("a", Path("nowhere"), ())
    assert [when for when, _ in watched.until(1000.0)] == [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0]
    assert AFTER[-1] == 300.0, "CI takes a job that is silent for ten minutes for hung"


def test_nothing_is_reported_of_what_ended_in_time() -> None:
    watched = Watched()
    assert watched.pause() is None
    watched.started("a", Path("nowhere"), ())
    watched.now += 9.9
    assert watched.ended("a") == (pytest.approx(9.9), ()), "its process never ran"
    assert watched.until(1000.0) == []


def test_each_node_has_its_own_clock() -> None:
    watched = Watched((10.0,))
    watched.started("a", Path("nowhere"), ())
    watched.now += 4.0
    watched.started("b", Path("nowhere"), ())
    assert [(when, event.node) for when, event in watched.until(25.0)] == [
        (10.0, "a"),
        (14.0, "b"),
        (20.0, "a"),
        (24.0, "b"),
    ]


def test_late_is_once() -> None:
    """An engine that was busy for a while does not catch up."""
    watched = Watched((10.0, 20.0))
    watched.started("a", Path("nowhere"), ())
    watched.now += 65.0
    assert [event.node for event in watched.due()] == ["a"]
    assert watched.pause() == 15.0


def test_a_report_has_progress_times_and_the_last_line(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("epoch 1\nepoch 2\n\n")
    watched = Watched()
    watched.expected = {"a": 42.0}
    watched.started("a", log, ("torch", "onnx"))
    watched.now += 3.0
    assert watched.began("a") == 3.0
    watched.progress("a", 2, 5, {"loss": 0.5})
    ((when, event),) = watched.until(10.0)
    assert when == 10.0
    assert event == NodeRunning(
        time=event.time, node="a", label="a", starting=3.0, seconds=7.0, expected=42.0, preload=("torch", "onnx"),
        done=2, total=5, values={"loss": 0.5}, said="epoch 2",
    )  # fmt: skip
    assert watched.ended("a") == (3.0, ("torch", "onnx"))


def test_what_starts_for_long_is_reported_as_that() -> None:
    watched = Watched()
    watched.started("a", Path("nowhere"), ("torch",))
    ((_, event),) = watched.until(10.0)
    assert (event.starting, event.seconds, event.said) == (10.0, 0.0, "")


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"", ""),
        (b"one", "one"),
        (b"one\n  two  \n\n", "two"),
        (b" 10%|# |\r 20%|## |\r", "20%|## |"),
        (b"\xff\x1b[31mred\n", "��[31mred"),
        (b"x" * 10_000 + b"\n", "x" * 100),
        (b"\n" * 10_000, ""),
    ],
)
def test_the_last_line(tmp_path: Path, printed: bytes, line: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(printed)
    assert last_line(log) == line
    assert last_line(tmp_path / "none") == ""
    os.mkfifo(tmp_path / "pipe")
    assert last_line(tmp_path / "pipe") == "", "and it is not waited for"
