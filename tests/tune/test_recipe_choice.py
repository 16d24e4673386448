"""Which candidate of a search over recipes is chosen, against an oracle that looks at all, and why the others lost."""

from __future__ import annotations

import random

import pytest

from compressbuild.evaluate.concerns import NEGLIGIBLE
from compressbuild.evaluate.gates import Verdict
from compressbuild.starter.candidates import Candidate, Runtime
from compressbuild.tune.recipes import Entry, decide
from compressbuild.tune.trials import bounds

HERE = Runtime("here", {}, ("onnx",))
COST = {"latency": lambda e: (e.speed, e.size), "size": lambda e: (e.size, e.speed)}


def entry(number: int, state: str, speed: float | None, size: float | None, width: float = 0.0) -> Entry:
    candidate = Candidate(f"c{number}", HERE, None, None, ())
    ends = (None, None) if speed is None else (speed - width, speed + width)
    return Entry(
        number=number, candidate=candidate, state=state, quality=0.9, speed=speed, size=size,  # type: ignore[arg-type]
        fastest=ends[0], slowest=ends[1], reason="" if state == "kept" else f"{state}!",
    )  # fmt: skip


def entries(rng: random.Random) -> list[Entry]:
    states = ("kept", "kept", "missed", "failed")
    return [entry(n, rng.choice(states), rng.randint(1, 6) / 4, rng.randint(1, 5)) for n in range(rng.randint(1, 9))]


@pytest.mark.parametrize("goal", ["latency", "size"])
def test_the_cheapest_that_keeps_the_gate_is_chosen(goal: str) -> None:
    rng = random.Random(5)
    for _ in range(300):
        found = entries(rng)
        outcome = decide(found, goal, "latency", "size")  # type: ignore[arg-type]
        kept = [e for e in found if e.state == "kept"]
        assert (outcome.chosen is None) == (not kept)
        if outcome.chosen is not None:
            assert COST[goal](outcome.chosen) == min(COST[goal](e) for e in kept)
            assert outcome.losses.keys() == {e.candidate.name for e in found} - {outcome.chosen.candidate.name}
            assert all(outcome.losses[e.candidate.name] == e.reason for e in found if e.state != "kept")


def test_balanced_is_on_the_front_and_no_end_of_it_where_there_is_a_middle() -> None:
    rng = random.Random(6)
    for _ in range(300):
        found = entries(rng)
        chosen = decide(found, "balanced", "latency", "size").chosen
        kept = [(e.speed, e.size) for e in found if e.state == "kept"]
        if chosen is not None:
            own = (chosen.speed, chosen.size)
            assert not any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in kept)  # type: ignore[operator]
    middle = [entry(0, "kept", 1.0, 1), entry(1, "kept", 0.2, 10), entry(2, "kept", 0.3, 2)]
    assert decide(middle, "balanced", "latency", "size").chosen is middle[2]


def test_what_differs_by_less_than_a_measurement_goes_to_the_smaller() -> None:
    close = 0.5 * (1 + 0.9 * NEGLIGIBLE)
    found = [entry(0, "kept", 0.5, 9), entry(1, "kept", close, 3), entry(2, "kept", 0.5 * (1 + 3 * NEGLIGIBLE), 1)]
    outcome = decide(found, "latency", "latency", "size")
    assert outcome.chosen is found[1]


@pytest.mark.parametrize(
    ("slower", "width", "chosen"), [(1.03, 0.02, 1), (1.03, 0.001, 0), (1.2, 0.2, 0)], ids=["alike", "shown", "far"]
)
def test_where_no_difference_in_time_is_shown_the_smaller_is_chosen(slower: float, width: float, chosen: int) -> None:
    """As with embeddings in 8 bits beside embeddings in float. Much slower is not alike, however wide the intervals."""
    found = [entry(0, "kept", 0.5, 9, width), entry(1, "kept", 0.5 * slower, 3, width)]
    assert decide(found, "latency", "latency", "size").chosen is found[chosen]
    assert decide(found, "size", "latency", "size").chosen is found[1]


def test_it_says_how_much_slower_and_larger_and_where_no_difference_is_shown() -> None:
    found = [entry(0, "kept", 1.0, 8), entry(1, "kept", 0.5, 2, 0.1), entry(2, "kept", 0.55, 2, 0.1)]
    losses = decide(found, "latency", "latency", "size").losses
    assert losses["c0"] == "×2.00 of the time and ×4.00 of the size of c1"
    assert losses["c2"] == "×1.10 of the time and ×1.00 of the size of c1; no difference in time is shown"


def verdict(limit: str, bound: float, value: float | None, metric: str = "m") -> Verdict:
    return Verdict(metric=metric, limit=limit, bound=bound, value=value, verdict="pass", ok=True)


def test_where_a_gate_lies_is_where_it_begins_to_be_missed() -> None:
    """Against is 0.9; own value is 0.85: the drop is 0.05."""
    measured = {"m": 0.85, "size": 30.0, "latency": 0.7}
    said = [
        verdict("max-drop", 0.02, 0.05),
        verdict("min", 0.8, 0.85),
        verdict("max-ratio", 0.5, 0.3, "size"),  # against is 100
        verdict("max-ratio", 0.9, 0.7, "latency"),
        verdict("max", 3.0, 2.0, "latency"),  # milliseconds, where ratios are drawn
        verdict("max-class-drop", 0.1, 0.2),
        verdict("min", 1.0, None, "unknown"),
        verdict("max-drop", 1.0, None),
    ]
    found = bounds(said, measured, {"latency"})
    assert found.keys() == {"m", "size", "latency"}
    assert found["m"] == [pytest.approx(0.88), 0.8]
    assert found["size"] == [pytest.approx(50.0)]
    assert found["latency"] == [0.9]
