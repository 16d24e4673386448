"""The profile: one slice a node, no overlap within a slot, readable by Perfetto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compressbuild.errors import UsageError
from compressbuild.execute.events import (
    BuildFinished,
    BuildStarted,
    Event,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    TargetFinished,
)
from compressbuild.report.data.trace import ChromeTrace

BUILD: list[Event] = [
    BuildStarted(time=10.0, targets=("t",), nodes=4, jobs=2),
    NodeFinished(time=10.0, node="z", label="z", status="cached"),
    NodeStarted(time=11.0, node="a", label="t/a", reason="new"),
    NodeStarted(time=11.5, node="b", label="t/b"),
    NodeProgress(time=12.0, node="a", done=1, total=2, values={"loss": 0.5, "phase": "train"}),
    NodeFinished(time=13.0, node="a", label="t/a", status="built", seconds=1.9, starting=0.25, peak_rss=1 << 20),
    NodeStarted(time=13.0, node="c", label="t/c"),
    NodeFinished(time=14.0, node="b", label="t/b", status="failed", cause="raised", error="no"),
    TargetFinished(time=14.0, target="t", status="failed", reason="t/b failed"),
]
END: list[Event] = [
    NodeFinished(time=15.0, node="c", label="t/c", status="built", seconds=2.0),
    BuildFinished(time=15.0, exit_code=1, seconds=5.0, counts={"built": 2, "failed": 1}),
]


def _trace(path: Path, stream: list[Event]) -> list[dict[str, Any]]:
    with ChromeTrace(path) as trace:
        for event in stream:
            trace(event)
    document = json.loads(path.read_bytes())
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    return document["traceEvents"]


def test_slices_slots_and_counters(tmp_path: Path) -> None:
    found = _trace(tmp_path / "deep" / "trace.json", BUILD + END)
    slices = {each["name"]: each for each in found if each["ph"] == "X"}
    assert {name: (each["tid"], each["ts"], each["dur"]) for name, each in slices.items()} == {
        "t/a": (1, 1e6, 2e6),
        "t/b": (2, 1.5e6, 2.5e6),
        "t/c": (1, 3e6, 2e6),
    }
    took = {"own_seconds": 1.9, "starting_seconds": 0.25, "peak_rss_MiB": 1.0}
    assert slices["t/a"]["args"] == {"status": "built", "why": "new", **took}
    assert slices["t/b"]["args"]["error"] == "no"
    running = [(each["ts"], each["args"]["nodes"]) for each in found if each["name"] == "running nodes"]
    assert running == [(1e6, 1), (1.5e6, 2), (3e6, 1), (3e6, 2), (4e6, 1), (5e6, 0)]
    assert [each["args"] for each in found if each["name"] == "t/a loss"] == [{"loss": 0.5}]
    assert {each["args"]["name"] for each in found if each["name"] == "thread_name"} == {"slot 1", "slot 2"}
    assert [each["name"] for each in found if each["ph"] == "i"] == ["build started", "t: failed", "build finished"]


def test_an_interrupted_build_is_drawn_as_far_as_it_got(tmp_path: Path) -> None:
    found = _trace(tmp_path / "trace.json", BUILD)
    (last,) = [each for each in found if each["ph"] == "X" and each["name"] == "t/c"]
    assert (last["ts"], last["dur"], last["args"]["status"]) == (3e6, 1e6, "cancelled")


def test_a_build_of_nothing_is_a_valid_trace(tmp_path: Path) -> None:
    assert [each["ph"] for each in _trace(tmp_path / "trace.json", [])] == ["M"]


def test_a_path_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write the trace"), ChromeTrace(tmp_path / "file" / "trace.json"):
        pytest.fail("it has begun")
