"""Events as JSON lines."""

from __future__ import annotations

import msgspec
import pytest

from compressbuild.execute.events import (
    BuildFinished,
    BuildStarted,
    Event,
    NodeFinished,
    NodeProgress,
    NodeRunning,
    NodeStarted,
    NodeWorking,
    TargetFinished,
    decode,
    encode,
)

EVENTS: list[Event] = [
    BuildStarted(time=1.0, targets=("a",), nodes=3, jobs=2, expected={"0": 1.5}),
    NodeStarted(time=1.0, node="0", label="a/prune", reason="ratio changed", log="/l", preload=("torch",)),
    NodeWorking(time=1.0, node="0", starting=0.5),
    NodeRunning(time=1.0, node="0", label="a/prune", seconds=9.5, expected=None, values={"loss": None}, said="line"),
    NodeProgress(time=1.0, node="0", done=1, total=3, values={"loss": 0.5, "phase": "train"}),
    NodeFinished(time=1.0, node="0", label="a/prune", status="failed", cause="raised", error="no\nway", log="/l"),
    TargetFinished(time=1.0, target="a", status="failed", reason="a/prune failed"),
    BuildFinished(time=1.0, exit_code=1, seconds=2.0, counts={"failed": 1}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_is_one_line_that_reads_back(event: Event) -> None:
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == event
    assert list(msgspec.json.decode(line))[:2] == ["event", "time"]


def test_the_line_is_what_is_documented() -> None:
    assert encode(EVENTS[1]) == (
        b'{"event":"node-started","time":1.0,"node":"0","label":"a/prune","reason":"ratio changed",'
        b'"log":"/l","preload":["torch"]}\n'
    )


def test_a_reader_ignores_fields_it_does_not_know() -> None:
    line = b'{"event":"build-finished","time":1.0,"exit_code":0,"new":1}'
    assert decode(line) == BuildFinished(time=1.0, exit_code=0)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"event":"nonsense","time":1.0}')
