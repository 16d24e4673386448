from __future__ import annotations

import numpy as np
import pytest
from cbuild_kit import arrays, axis_sizes, batch_indices, batches, example_arrays, fit, sample_feeds

from compressbuild.api import ModelInput, UserError

IMAGE = ModelInput("image", ("batch", 3), "float32")


def pairs(*sizes: int):
    for size in sizes:
        yield np.full((size, 3), size, np.float32), np.arange(size)


def test_batches_are_joined_in_order():
    inputs, labels = arrays(pairs(2, 3), ["image"])
    assert inputs["image"].shape == (5, 3)
    assert inputs["image"][:, 0].tolist() == [2, 2, 3, 3, 3]
    assert labels.tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("form", [lambda a, b: {"b": b, "a": a, "unused": a}, lambda a, b: (a, b), lambda a, b: [a, b]])
def test_mappings_go_by_name_and_tuples_by_order(form):
    a, b = np.zeros((2, 3)), np.ones((2, 4))
    inputs, _ = arrays([(form(a, b), [0, 1])], ["a", "b"])
    assert inputs["a"].shape == (2, 3)
    assert inputs["b"].shape == (2, 4)


def test_a_limit_stops_reading():
    def loader():
        yield from pairs(4, 4)
        raise AssertionError("read too far")

    inputs, labels = arrays(loader(), ["image"], limit=6)
    assert len(labels) == len(inputs["image"]) == 6


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ([], "the dataset is empty"),
        (7, "is a int, which cannot be iterated"),
        ([np.zeros(3)], "batch 0 of the dataset is not a pair"),
        ([(np.zeros((2, 3)), [1])], "2 samples of input 'image' but 1 labels"),
        ([({"picture": np.zeros((1, 3))}, [1])], "has no input 'image'"),
        ([((np.zeros((1, 3)), np.zeros((1, 3))), [1])], "has 2 inputs, the model has 1"),
        ([(np.zeros((1, 3)), [1]), (np.zeros((1, 4)), [1])], "batch 1 of the dataset: float64 (N, 4), but"),
        ([(np.zeros((1, 3)), [1]), (np.zeros((1, 3), int), [1])], "batch 1 of the dataset: int64 (N, 3), but"),
        ([(np.array([["a"]]), [1])], "is not a numeric array"),
        ([(np.zeros((2, 3)), [[1], [1, 2]])], "labels of batch 0 of the dataset cannot be converted to an array"),
        ([(np.float32(1), 1)], "is not a numeric array"),
    ],
)
def test_bad_data_is_one_clear_error(dataset, said):
    with pytest.raises(UserError) as error:
        arrays(dataset, ["image"])
    assert said in str(error.value)


def test_every_sample_comes_once_and_a_seed_fixes_the_order():
    inputs = {"x": np.arange(10)}
    once = [labels.tolist() for _, labels in batches(inputs, np.arange(10), 4, seed=3)]
    assert [len(batch) for batch in once] == [4, 4, 2]
    assert sorted(label for batch in once for label in batch) == list(range(10))
    assert once == [labels.tolist() for _, labels in batches(inputs, np.arange(10), 4, seed=3)]
    assert once != [labels.tolist() for _, labels in batches(inputs, np.arange(10), 4, seed=4)]
    assert next(batches(inputs, np.arange(10), 4))[0]["x"].tolist() == [0, 1, 2, 3]


def test_a_last_batch_of_one_can_be_dropped_but_never_the_only_one():
    assert [len(b) for b in batch_indices(9, 4, drop_single=True)] == [4, 4]
    assert [len(b) for b in batch_indices(1, 4, drop_single=True)] == [1]


def test_example_arrays_share_axes_of_a_name():
    items = (ModelInput("ids", ("batch", "length"), "int64"), ModelInput("mask", ("batch", "length"), "bool"))
    assert axis_sizes(items, {"length": 7}) == {"batch": 2, "length": 7}
    made = example_arrays(items, {"length": 7})
    assert made["ids"].shape == made["mask"].shape == (2, 7)
    assert made["ids"].dtype == np.int64
    assert made["mask"].any(axis=1).all(), "true may stand for what counts"
    assert not made["mask"].all(axis=1).any(), "or for what does not"
    with pytest.raises(UserError, match="no input has an axis 'width'"):
        example_arrays(items, {"width": 7})


def test_fit_widens_but_does_not_reinterpret():
    assert fit({"image": np.zeros((2, 3))}, [IMAGE])["image"].dtype == np.float32
    with pytest.raises(UserError, match=r"expects image: float32 \[batch, 3\], but the data is uint8 \[N, 3\]"):
        fit({"image": np.zeros((2, 3), np.uint8)}, [IMAGE])
    with pytest.raises(UserError, match=r"the data is float64 \[N, 4\]"):
        fit({"image": np.zeros((2, 4))}, [IMAGE])


def test_a_fixed_batch_is_filled_exactly():
    fixed = (ModelInput("image", (4, 3), "float32"),)
    assert len(sample_feeds(pairs(6), fixed, 64)["image"]) == 4
    with pytest.raises(UserError, match="takes batches of 4, but the dataset has only 3"):
        sample_feeds(pairs(3), fixed, 64)
