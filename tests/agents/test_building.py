"""What a build reports on the way, and what is said of one that did not come to its end."""

from __future__ import annotations

import anyio
import pytest

from compressbuild.agents import building
from compressbuild.agents.building import Building
from compressbuild.agents.calls import Ended, Refused
from compressbuild.execute.events import (
    BuildFinished,
    BuildStarted,
    Event,
    NodeFinished,
    NodeProgress,
    NodeRunning,
    TargetFinished,
    encode,
)


def reported(*events: Event) -> tuple[Building, list[tuple[float, float | None, str | None]]]:
    said: list[tuple[float, float | None, str | None]] = []

    async def report(done: float, total: float | None, message: str | None) -> None:
        said.append((done, total, message))

    found = Building(report)

    async def run() -> None:
        for event in events:
            await found(encode(event).rstrip())
        await found(b"a plugin's noise")
        await found(b'{"event": "of a newer cbuild"}')

    anyio.run(run)
    return found, said


def test_progress_rises_and_counts_the_share_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_APART", 0.0)
    _, said = reported(
        BuildStarted(targets=("a",), nodes=2),
        NodeProgress(node="a/train", done=1, total=4),
        NodeRunning(node="a/train", label="a/train", seconds=10),
        NodeProgress(node="a/train", done=1, total=4),
        NodeProgress(node="a/train", done=3, total=4),
        NodeProgress(node="a/train", done=1, total=0),
        NodeFinished(node="a/train", label="a/train", status="built"),
        NodeFinished(node="a/size", label="a/size", status="cached"),
    )
    assert said == [
        (0.25, 2, "running a/train"),
        (0.75, 2, "running a/train"),
        (1, 2, "built a/train"),
        (2, 2, "cached a/size"),
    ]


def test_thousands_of_cached_nodes_are_not_each_reported() -> None:
    nodes = [NodeFinished(node=str(i), label=str(i), status="cached") for i in range(5000)]
    _, said = reported(BuildStarted(targets=("a",), nodes=5000), *nodes)
    assert len(said) < 50
    assert said[-1][:2] == (5000, 5000)


def test_a_build_without_an_end_is_refused_with_its_cause() -> None:
    found, _ = reported(BuildStarted(targets=("a",), nodes=2))
    with pytest.raises(Refused, match="ended with status -9 and said nothing"):
        found.outcome(Ended(-9, (), ""))
    with pytest.raises(Refused, match="cbuild itself failed: ValueError: x"):
        found.outcome(Ended(1, (), "Traceback (most recent call last):\n  File\nValueError: x"))


def test_the_outcome_is_that_of_the_exit_status() -> None:
    missed = TargetFinished(target="a", status="gate failed", reason="top1 max-drop fail", metrics={"top1": 0.5})
    found, _ = reported(BuildStarted(targets=("a",), nodes=0), missed, BuildFinished(exit_code=3))
    outcome = found.outcome(Ended(3, (), "warning: w"))
    assert (outcome["outcome"], outcome["exit_code"], outcome["said"]) == ("a gate failed", 3, "warning: w")
    assert outcome["targets"] == [
        {"target": "a", "status": "gate failed", "reason": "top1 max-drop fail", "metrics": {"top1": 0.5}}
    ]
