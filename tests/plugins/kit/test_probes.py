from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cbuild_kit.probes import first_range, probe, probe_arrays, within

from compressbuild.api import ModelInput

Feeds = dict[str, np.ndarray]

SEQUENCE = (ModelInput("x", ("batch", "time", 8), "float32"),)
PICTURE = (ModelInput("x", ("batch", 3, "height", "width"), "float32"),)
TEXT = (
    ModelInput("input_ids", ("batch", "length"), "int64"),
    ModelInput("attention_mask", ("batch", "length"), "int64"),
)


def area(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    _, _, height, width = seen or x.shape
    return x.reshape(-1, 3, int(height * width)).max(2)


def half(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    middle = int((seen or x.shape)[1] * 0.5)
    return x[:, :middle].mean(1) - x[:, middle:].max(1)


def last(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    return (x[:, -20:] if (seen or x.shape)[1] > 20 else x).mean(1)


def padded(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    down, right = (-size % 8 for size in (seen or x.shape)[2:])
    x = np.pad(x, ((0, 0), (0, 0), (0, down), (0, right)))
    return x.reshape(len(x), 3, x.shape[2] // 8, 8, x.shape[3] // 8, 8).mean((3, 5)).max((2, 3))


def pooled(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    rows, columns = ((size - 3) // 2 for size in (seen or x.shape)[2:])
    return x[:, :, :: max(rows, 1), :: max(columns, 1)].sum((2, 3))


def alone(x: np.ndarray, seen: tuple[int, ...] | None = None) -> np.ndarray:
    y = x.mean(1)
    return y if (seen or x.shape)[0] == 1 else y - 0.1 * y.mean(0, keepdims=True)


@pytest.mark.parametrize("forward", [area, half, last, padded, pooled, alone])
def test_a_size_that_tracing_settled_shows(forward: Callable[..., np.ndarray]) -> None:
    """Computed as if every input had the sizes of the traced example, 2 and 16."""
    inputs = PICTURE if forward in (area, padded, pooled) else SEQUENCE
    traced = tuple(2 if axis == "batch" else 16 if isinstance(axis, str) else axis for axis in inputs[0].shape)
    assert _same(forward, {"x": np.random.default_rng(0).standard_normal(traced)}, traced)
    found = probe(inputs, lambda feeds: {"y": forward(feeds["x"])})
    assert not all(_same(forward, dict(item.feeds), traced) for item, _ in found.taken)


def _same(forward: Callable[..., np.ndarray], feeds: Feeds, traced: tuple[int, ...]) -> bool:
    wanted = forward(feeds["x"])
    try:
        got = forward(feeds["x"], traced)
    except ValueError:
        return False
    return got.shape == wanted.shape and np.allclose(got, wanted)


def sizes_of(found: Any, axis: str) -> set[int]:
    return {item.sizes[axis] for item, _ in found.taken}


def test_every_axis_is_tried_at_one_and_more() -> None:
    found = probe(PICTURE, lambda feeds: feeds)
    assert sizes_of(found, "batch") == {1, 3, 16}
    assert sizes_of(found, "height") == sizes_of(found, "width") == {1, 7, 16, 96}
    assert found.refused == {}


def test_refused_sizes_are_passed_over_with_the_reason() -> None:
    def short(feeds: Any) -> Any:
        if feeds["x"].shape[1] > 20:
            raise ValueError("at most\n20 steps")
        return feeds

    found = probe(SEQUENCE, short)
    assert sizes_of(found, "time") == {1, 7, 16}
    assert found.refused == {"random batch=3,time=96": "at most 20 steps"}


@pytest.mark.parametrize(
    ("takes", "start"), [(lambda n: n % 32 == 0, 64), (lambda n: n <= 10, 8), (lambda n: n == 1, 1)]
)
def test_a_start_that_the_source_takes_is_found(takes: Callable[[int], bool], start: int) -> None:
    def choosy(feeds: Any) -> Any:
        if not all(takes(size) for size in feeds["x"].shape[2:]):
            raise ValueError("no")
        return feeds

    found = probe(PICTURE, choosy)
    assert found.start == {"batch": 3, "height": start, "width": start}
    assert sizes_of(found, "batch") == {1, 3, 16}


def test_axes_that_vary_together_only() -> None:
    def square(feeds: Any) -> Any:
        if feeds["x"].shape[2] != feeds["x"].shape[3]:
            raise ValueError("not a square")
        return feeds

    assert sizes_of(probe(PICTURE, square), "height") == {1, 7, 16, 96}


def test_nothing_is_taken() -> None:
    def never(_: Any) -> Any:
        raise ValueError("no")

    found = probe(PICTURE, never)
    assert (found.taken, found.start) == ([], {})
    assert set(found.refused.values()) == {"no"}


def test_contents_that_the_source_dislikes_do_not_cost_the_size() -> None:
    def no_zero(feeds: Any) -> Any:
        if not feeds["input_ids"].all():
            raise ValueError("0 is reserved")
        return feeds

    found = probe(TEXT, no_zero, rows={"input_ids": 30})
    assert {item.name.partition(" ")[0] for item, _ in found.taken} == {"plain"}
    assert sizes_of(found, "length") == {1, 7, 16, 96}


def test_given_sizes_replace_the_usual_ones() -> None:
    found = probe(SEQUENCE, lambda feeds: feeds, axes={"batch": [2], "time": [5, 12]})
    assert [item.sizes for item, _ in found.taken] == [{"batch": 2, "time": 12}, {"batch": 2, "time": 5}]
    assert (within(1, 64), within(1, 2), within(8, 8)) == ([1, 32, 64], [1, 2], [8])
    assert first_range(SEQUENCE, {}) == (1, 16)
    assert first_range(SEQUENCE, {"batch": [9, 2]}) == (2, 9)
    assert first_range((ModelInput("x", (4, 3), "float32"),), {}) == (1, 1)


def test_the_number_of_runs_is_bounded() -> None:
    many = tuple(ModelInput(f"x{number}", ("batch", f"axis{number}"), "float32") for number in range(20))
    assert len(probe(many, lambda feeds: feeds).taken) == 24


def test_ids_reach_both_ends_of_their_table() -> None:
    made = probe_arrays(TEXT, {"batch": 3, "length": 16}, np.random.default_rng(0), {"input_ids": 1000})["input_ids"]
    assert (made.min(), made.max(), made.dtype) == (0, 999, np.int64)
    assert len(np.unique(made)) > 40
    unknown = probe_arrays(TEXT, {"batch": 3, "length": 16}, np.random.default_rng(0))["input_ids"]
    assert set(np.unique(unknown)) == {0, 1}
    assert unknown[:, 0].all()


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_masks_are_ragged_and_never_empty(dtype: str) -> None:
    item = ModelInput("attention_mask", ("batch", "length"), dtype)
    mask = probe_arrays([item], {"batch": 16, "length": 16}, np.random.default_rng(0))["attention_mask"]
    lengths = mask.astype(int).sum(1)
    assert len(set(lengths)) > 4
    assert mask[:, 0].all()
    assert (np.diff(mask.astype(int), axis=1) <= 0).all(), "what counts comes first"
    assert (lengths.max() == 16) == (dtype != "bool"), "true may mean 'ignore', so that something is left either way"


def test_a_long_row_counts_by_two_thirds() -> None:
    """Beyond a local attention's window of what counts, a softmax is over nothing, and runtimes differ."""
    item = ModelInput("attention_mask", ("batch", "length"), "int64")
    mask = probe_arrays([item], {"batch": 64, "length": 96}, np.random.default_rng(0))["attention_mask"]
    lengths = mask.sum(1)
    assert lengths.min() >= 64
    assert len(set(lengths)) > 10


def test_a_padding_mask_is_true_at_the_end() -> None:
    item = ModelInput("key_padding_mask", ("batch", "length"), "bool")
    mask = probe_arrays([item], {"batch": 8, "length": 16}, np.random.default_rng(0))["key_padding_mask"]
    assert not mask[:, 0].any()
    assert mask[:, -1].all()


def test_inputs_are_those_of_the_seed() -> None:
    def feeds(seed: int) -> np.ndarray:
        return probe(SEQUENCE, lambda feeds: feeds, seed=seed).taken[0][0].feeds["x"]

    assert np.array_equal(feeds(1), feeds(1))
    assert not np.array_equal(feeds(1), feeds(2))
