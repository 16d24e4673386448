from __future__ import annotations

import pytest

from compressbuild.execute.events import BuildStarted, NodeFinished, NodeProgress, NodeStarted, NodeWorking
from compressbuild.report.text.estimate import Estimate


def _started(expected: dict[str, float], *, nodes: int = 3, jobs: int = 1) -> Estimate:
    estimate = Estimate()
    estimate(BuildStarted(time=100.0, targets=("t",), nodes=nodes, jobs=jobs, expected=expected))
    return estimate


def test_work_that_is_left_is_shared_by_the_jobs() -> None:
    assert _started({"a": 10.0, "b": 20.0, "c": 30.0}).remaining(100.0) == 60.0
    assert _started({"a": 10.0, "b": 20.0, "c": 30.0}, jobs=2).remaining(100.0) == 30.0


def test_nodes_never_run_before_count_as_the_mean() -> None:
    assert _started({"a": 10.0, "b": 20.0}).remaining(100.0) == 45.0
    assert _started({}).remaining(100.0) is None


def test_time_passes_for_running_nodes_and_cached_ones_drop_out() -> None:
    estimate = _started({"a": 10.0, "b": 20.0, "c": 30.0})
    estimate(NodeFinished(time=100.0, node="a", label="a", status="cached"))
    estimate(NodeStarted(time=100.0, node="b", label="b"))
    estimate(NodeWorking(time=100.0, node="b"))
    assert estimate.remaining(105.0) == 15.0 + 30.0
    assert estimate.remaining(150.0) == 30.0, "late, but not negative"
    estimate(NodeFinished(time=150.0, node="b", label="b", status="built", seconds=50.0))
    assert (estimate.ended, estimate.remaining(150.0)) == (2, 30.0)


def test_a_nodes_own_progress_beats_its_history() -> None:
    estimate = _started({"a": 10.0}, nodes=1, jobs=8)
    estimate(NodeStarted(time=100.0, node="a", label="a"))
    estimate(NodeWorking(time=100.0, node="a"))
    estimate(NodeProgress(time=120.0, node="a", done=1, total=4))
    assert estimate.remaining(120.0) == 60.0, "and one node is not shared by eight jobs"


def test_the_end_is_zero() -> None:
    estimate = _started({"a": 10.0}, nodes=1)
    estimate(NodeFinished(time=100.0, node="a", label="a", status="cached"))
    assert estimate.remaining(100.0) == pytest.approx(0.0)


def test_what_starts_a_process_is_no_work_of_the_node() -> None:
    """How long a node took before does not count the start of its process either."""
    estimate = _started({"a": 10.0}, nodes=1)
    estimate(NodeStarted(time=100.0, node="a", label="a"))
    assert estimate.remaining(120.0) == 10.0
    estimate(NodeWorking(time=120.0, node="a", starting=20.0))
    assert estimate.remaining(124.0) == 6.0
