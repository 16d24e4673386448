"""The operators of two profiles side by side."""

from __future__ import annotations

import pytest

from compressbuild.api import Operator, Profile
from compressbuild.report.data.beside import Beside, beside
from compressbuild.report.text.beside import beside_lines


def profile(*rows: tuple[str, str, str, float], batch: int = 4, run_us: float = 100.0) -> Profile:
    """``rows``: layer, name, type, µs."""
    found = tuple(Operator(name=name, op=op, time_us=us, layer=layer) for layer, name, op, us in rows)
    return Profile(operators=found, run_us=run_us, batch=batch)


FLOAT = profile(
    ("a.conv", "a.conv/node_1", "Conv", 40.0),
    ("a", "a/relu", "Relu", 5.0),
    ("b.conv", "b.conv/node_12", "Conv", 20.0),
    ("", "Reorder", "Reorder", 3.0),
)
INT8 = profile(
    ("", "image_QuantizeLinear", "QuantizeLinear", 4.0),
    ("a.conv", "a.conv/node_1_quant", "QLinearConv", 10.0),
    ("b.add", "b.add/node_13", "QLinearAdd", 2.0),
    ("b.conv", "b.conv/node_1", "QLinearConv", 8.0),
    run_us=50.0,
)


def pairs(found: Beside) -> dict[str, list[tuple[str | None, str | None]]]:
    return {
        layer.name: [(p.first.name if p.first else None, p.second.name if p.second else None) for p in layer.operators]
        for layer in found.layers
    }


def test_operators_stand_under_their_modules_in_the_order_in_which_they_run() -> None:
    found = beside(FLOAT, INT8)
    assert list(pairs(found)) == ["a.conv", "b.add", "a", "b.conv", ""]
    first = found.layers[0]
    assert (first.first, first.second, first.ratio) == (40.0, 10.0, 0.25)
    assert [(layer.first, layer.second, layer.ratio) for layer in found.layers if layer.name in ("a", "b.add")] == [
        (None, 2.0, None), (5.0, None, None),
    ]  # fmt: skip
    assert (found.rest, found.runs) == ((32.0, 26.0), (100.0, 50.0))


def test_what_one_side_alone_has_is_counted() -> None:
    found = beside(FLOAT, INT8)
    assert pairs(found)["a.conv"] == [("a.conv/node_1", "a.conv/node_1_quant")]
    assert pairs(found)["b.conv"] == [("b.conv/node_12", None), (None, "b.conv/node_1")]  # two nodes
    assert pairs(found)[""] == [("Reorder", None), (None, "image_QuantizeLinear")]
    assert (found.only_first, found.only_second) == (3, 3)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("c/node_1_token_3", "c/node_1/WithoutBiases", True),
        ("c/node_1", "c/node_1", True),
        ("c/node_1", "c/node_1_token_3", True),
        ("c/node_1", "c/node_12", False),
        ("c/node_1_q", "c/node_2_q", False),
        ("c/relu", "c/relu_1", False),
        ("Transpose", "Reshape", False),
    ],
)
def test_names_that_runtimes_extend(first: str, second: str, same: bool) -> None:
    found = beside(profile(("c", first, "A", 1.0)), profile(("c", second, "B", 1.0)))
    assert (found.only_first == 0) is same


def test_an_equal_name_is_not_taken_for_a_like_one() -> None:
    found = beside(
        profile(("c", "c/x", "A", 1.0), ("c", "c/x/y", "A", 2.0)),
        profile(("c", "c/x/y", "A", 2.0), ("c", "c/x", "A", 1.0)),
    )
    assert pairs(found)["c"] == [("c/x", "c/x"), ("c/x/y", "c/x/y")]


def test_runs_of_other_numbers_of_samples_do_not_compare() -> None:
    with pytest.raises(ValueError, match="profiled at batch 4 and 8"):
        beside(FLOAT, profile(batch=8))


def test_as_text() -> None:
    lines = list(beside_lines("fp", "q", beside(FLOAT, INT8)))
    assert lines[0].endswith("a run under the profiler, batch 4; only in fp: 3, only in q: 3")
    assert lines[1].split() == ["module", "fp", "µs", "q", "µs", "ratio", "operators"]
    assert lines[2].split() == ["a.conv", "40.0", "10.0", "×0.25", "Conv", "→", "QLinearConv"]
    assert lines[3].split() == ["b.add", "–", "2.0", "+QLinearAdd"]
    assert lines[4].split() == ["a", "5.0", "–", "-Relu"]
    assert lines[-2].endswith("+QuantizeLinear, -Reorder")
    assert lines[-1].split() == ["outside", "operators", "32.0", "26.0"]


def test_of_many_modules_the_slowest_are_shown() -> None:
    many = profile(*((f"m{i}", f"m{i}/x", "Conv", float(i)) for i in range(50)))
    lines = list(beside_lines("a", "b", beside(many, many)))
    assert lines[2].startswith("m10 ")  # in the order in which they run
    assert lines[-1] == "and 10 more modules: 45.0 and 45.0 µs ('--format json' has all)"


def test_why_there_are_none() -> None:
    assert list(beside_lines("a", "b", "'a' was not profiled")) == ["operators: 'a' was not profiled"]
