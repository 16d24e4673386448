"""The front, and which one to ship."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.evaluate.choice import Candidate, Terms, choose, front

TOP1 = Terms(quality="top1", speed="latency", margin=0.03)
numbers = st.integers(0, 4).map(float)


def candidate(name: str, quality: float, latency: float, size: float, **more: Any) -> Candidate:
    return Candidate(name=name, quality=quality, speed=latency, size=size, **more)


@given(st.lists(st.tuples(numbers, numbers, numbers), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float, float]]) -> None:
    found = front([candidate(str(i), *point) for i, point in enumerate(points)])
    costs = np.array([(-q, latency, size) for q, latency, size in points]).reshape(-1, 3)
    for i, own in enumerate(costs):
        dominated = any((other <= own).all() and (other < own).any() for other in costs)
        assert (str(i) in found) == (not dominated)


def test_what_is_not_measured_is_not_on_it() -> None:
    assert front([Candidate(name="a", quality=1, speed=None, size=1), candidate("b", 0, 9, 9)]) == {"b"}


def right(correct: int, n: int = 200) -> tuple[str, tuple[bool, ...]]:
    return "same", tuple(i < correct for i in range(n))


FOUR = [
    candidate("full", 0.97, 4, 400, right=right(1940, 2000)),
    candidate("int8", 0.96, 2, 100, right=right(1920, 2000)),  # between 0.6 and 1.5 points lower
    candidate("tiny", 0.80, 1, 20, right=right(1600, 2000)),
    candidate("broken", 0.99, 0.5, 10, objection="misses its gate: top1 min-class"),
]


def test_the_fastest_of_those_that_are_as_good() -> None:
    found = choose(FOUR, TOP1)
    assert found is not None
    assert found.name == "int8"
    assert found.reasons[0] == "top1 0.96 is not worse than the 0.97 of full by more than 0.03"
    assert list(found.rivals) == ["broken", "tiny", "full"]
    assert found.rivals["broken"] == "misses its gate: top1 min-class"
    assert found.rivals["tiny"].startswith("top1 0.8 is below 0.97 of full (McNemar p = ")
    assert found.rivals["full"] == "as good, but slower: ×2.00 of the latency and ×4.00 of the size of int8"


def test_what_is_only_not_shown_to_differ_is_not_as_good() -> None:
    few = [
        candidate("full", 0.97, 4, 400, right=right(194)),
        candidate("int8", 0.96, 2, 100, right=right(192)),  # two samples of 200: McNemar sees nothing
    ]
    found = choose(few, Terms(quality="top1", speed="latency"))
    assert found is not None
    assert found.name == "full"
    assert found.rivals["int8"].startswith(
        "not shown to be as good: top1 0.96 is below 0.97 of full, and it may be 0.0"
    )
    assert found.rivals["int8"].endswith(" worse (margin 0.0097)")


def test_intervals_that_overlap_are_said() -> None:
    found = choose(
        [
            candidate("a", 0.9, 0.50, 10, fastest=0.45, slowest=0.56),
            candidate("b", 0.9, 0.54, 9, fastest=0.50, slowest=0.60),
            candidate("c", 0.9, 0.80, 8, fastest=0.78, slowest=0.82),
        ],
        TOP1,
    )
    assert found is not None
    assert (found.name, found.remarks) == ("a", ("no difference in latency is shown from b: intervals overlap",))
    assert found.rivals["b"].startswith("as good and about as fast")
    assert found.rivals["c"].startswith("as good, but slower")


def test_what_a_choice_does_not_rest_on_is_said() -> None:
    found = choose([candidate("a", 0.9, 1, 1, remarks=("no gate limits it",))], TOP1)
    assert found is not None
    assert found.remarks == ("no gate limits it",)


def test_of_those_that_are_as_fast_the_best() -> None:
    samples = {"better": right(199), "quicker by chance": right(198), "larger": right(200)}
    found = choose(
        [
            candidate("quicker by chance", 0.990, 1.000, 100.0, right=samples["quicker by chance"]),
            candidate("better", 0.995, 1.006, 100.3, right=samples["better"]),
            candidate("larger", 1.0, 1.001, 200, right=samples["larger"]),
        ],
        TOP1,
    )
    assert found is not None
    assert found.name == "better"
    said = "as good and about as fast: ×0.99 of the latency and ×1.00 of the size of better"
    assert found.rivals["quicker by chance"] == said


def test_without_samples_lower_is_worse() -> None:
    found = choose([candidate("a", 0.97, 4, 4), candidate("b", 0.96, 1, 1)], Terms(quality="top1", speed="latency"))
    assert found is not None
    assert found.name == "a"
    assert found.rivals == {"b": "top1 0.96 is below 0.97 of a"}


def test_nothing_to_ship() -> None:
    assert choose([candidate("a", 1, 1, 1, objection="is not published")], TOP1) is None
    assert choose([Candidate(name="a", quality=None, speed=1, size=1)], TOP1) is None


def test_from_results() -> None:
    bits = np.array([1, 0, 1], bool)
    top1 = {"value": 2 / 3, "n": 3, "hits": base64.b64encode(np.packbits(bits).tobytes()).decode(), "labels": "d"}
    found = Candidate.of("a", {"top1": top1}, TOP1, 5)
    assert found.right == ("d", (True, False, True))
    assert (found.quality, found.speed, found.size) == (2 / 3, None, 5)
    assert found.costs is None


def test_where_less_is_better() -> None:
    found = choose(
        [candidate("a", 9.5, 4, 4, lower=True), candidate("b", 12.25, 1, 1, lower=True)],
        Terms(quality="perplexity", speed="latency", lower=True),
    )
    assert found is not None
    assert found.reasons[0] == "no other has a lower perplexity (9.5)"
    assert found.rivals == {"b": "perplexity 12.25 is above 9.5 of a"}
    assert front([candidate("a", 9, 1, 1, lower=True), candidate("b", 12, 1, 1, lower=True)]) == {"a"}
