from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from cbuild_kit.predictions import Predictions, validate
from cbuild_metrics.answers.params import Predict
from cbuild_metrics.answers.predict import predict
from fake_runner import FakeRunner
from onnxruntime import InferenceSession

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

X = models.images(100)
LABELS = np.arange(100) % 10


def in_batches_of(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(X), size):
        yield X[start : start + size], LABELS[start : start + size]


def sevens() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return in_batches_of(7)


def by_name() -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    return (({"image": x, "id": y}, y) for x, y in in_batches_of(100))


def in_double() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return ((x.astype(np.float64), y.astype(np.int32)) for x, y in in_batches_of(50))


def run(artifact: Path, out: Path, loader: str = "sevens", batch: int = 64) -> Any:
    return run_node(
        "cbuild_metrics.answers.predict:predict",
        artifact,
        Predict(data="test", batch=batch),
        out,
        kind="onnx",
        load="cbuild_onnxruntime.runner:load",
        datasets={"test": f"{__name__}:{loader}"},
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    artifact = models.save(models.cnn(), tmp_path_factory.mktemp("reference") / "m")
    return InferenceSession(str(artifact / "model.onnx")).run(None, {"image": X})[0]


@pytest.mark.parametrize("axis", ["batch", 1, 3, 100, 128])
@pytest.mark.parametrize("loader", ["sevens", "by_name", "in_double"])
def test_every_sample_is_answered_once_and_in_order(
    axis: int | str, loader: str, expected: np.ndarray, tmp_path: Path
) -> None:
    node = run(models.save(models.cnn(axis), tmp_path / "model"), tmp_path / "out", loader)
    validate(node.out)
    found = Predictions.read(node.out)
    assert list(found.outputs) == ["logits"]
    np.testing.assert_allclose(found.outputs["logits"], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert node.facts["count"] == 100
    assert node.facts["runs_on"]["provider"] == "CPUExecutionProvider"
    assert node.facts["signature"] == {
        "inputs": [{"name": "image", "shape": [axis, *X.shape[1:]], "dtype": "float32"}],
        "outputs": [{"name": "logits", "shape": [axis, *expected.shape[1:]], "dtype": "float32"}],
    }


@pytest.mark.parametrize(("size", "batches"), [(10, [10] * 10), (64, [64, 36]), (33, [33, 33, 33, 1])])
def test_the_batch_is_what_was_asked(size: int, batches: list[int], fake: Callable[..., Any], tmp_path: Path) -> None:
    runner = FakeRunner(lambda image: {"y": image.sum((1, 2, 3))}, image=(("n", 1, 8, 8), "float32"))
    predict(fake(list(in_batches_of(7)), subject=runner), tmp_path, Predict(data="d", batch=size))
    assert runner.batches == batches


def test_progress_counts_batches(tmp_path: Path) -> None:
    reports = run(models.save(models.cnn(), tmp_path / "model"), tmp_path / "out", batch=7).progress
    assert [report["done"] for report in reports] == list(range(1, 16))
    assert {report["total"] for report in reports} == {0}, "a generator does not say how long it is"


def test_batches_of_other_shapes_are_not_mixed(fake: Callable[..., Any], tmp_path: Path) -> None:
    data = [(np.ones((n, width), np.float32), np.zeros(n, int)) for n, width in ((3, 5), (2, 5), (4, 6), (1, 5))]
    runner = FakeRunner(lambda x: {"y": x.sum(1)}, x=(("n", "width"), "float32"))
    ctx = fake(data, subject=runner)
    predict(ctx, tmp_path, Predict(data="d", batch=4))
    assert runner.batches == [4, 1, 4, 1]
    np.testing.assert_array_equal(Predictions.read(ctx.out).outputs["y"], [5] * 5 + [6] * 4 + [5])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the dataset is empty"),
        (3, "batch 0 of the dataset is not a pair"),
        ([(X[:2], LABELS[:2]), X[:2]], "batch 1 of the dataset is not a pair"),
        ([(X[:2], LABELS[:3])], "batch 0 of the dataset has 2 samples of input 'image' but 3 labels"),
        ([({"picture": X[:2]}, LABELS[:2])], "batch 0 of the dataset has no input 'image'"),
        ([(X[:2, :, :4], LABELS[:2])], "the data does not fit the model: it expects image: float32"),
        ([((X[:2] * 255).astype(np.uint8), LABELS[:2])], "the data does not fit the model"),
    ],
)
def test_data_that_does_not_fit(data: Any, message: str, fake: Callable[..., Any], tmp_path: Path) -> None:
    runner = FakeRunner(lambda image: {"y": image}, image=(("n", 1, 8, 8), "float32"))
    with pytest.raises(UserError, match=message):
        predict(fake(data, subject=runner), tmp_path, Predict(data="d"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda image: {"y": image.sum()}, r"output 'y' has the shape \[\] for 7 samples"),
        (lambda image: {"y": image[:1]}, r"output 'y' has the shape \[1, 1, 8, 8\] for 7 samples"),
        (lambda image: {"y": np.zeros((len(image), len(image)))}, "output 'y' differ in shape between batches"),
    ],
)
def test_outputs_without_a_batch_axis(function: Any, message: str, fake: Callable[..., Any], tmp_path: Path) -> None:
    runner = FakeRunner(function, image=(("n", 1, 8, 8), "float32"))
    with pytest.raises(UserError, match=message):
        predict(fake(list(in_batches_of(7)), subject=runner), tmp_path, Predict(data="d", batch=7))


def test_output_names_that_are_no_file_names(tmp_path: Path) -> None:
    outputs = {name: np.full((2, 1), i) for i, name in enumerate(("a/b", "a_b", "A_b", "../c", "É"))}
    tmp_path.joinpath("p").mkdir()
    Predictions(outputs, np.zeros(2)).write(tmp_path / "p")
    found = Predictions.read(tmp_path / "p")
    assert {name: int(array[0, 0]) for name, array in found.outputs.items()} == {
        "a/b": 0,
        "a_b": 1,
        "A_b": 2,
        "../c": 3,
        "É": 4,
    }
    assert len({path.name.lower() for path in (tmp_path / "p" / "outputs").iterdir()}) == 5


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is damaged"),
        ('{"count": 3, "labels": "labels.npy", "outputs": []}', r"labels has the shape \(2,\), not 3 rows"),
        ('{"count": 2, "labels": "../labels.npy", "outputs": []}', "outside of the artifact"),
    ],
)
def test_damaged_predictions(index: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    Predictions({"y": np.zeros(2)}, np.zeros(2)).write(tmp_path / "p")
    (tmp_path / "p" / "predictions.json").write_text(index)
    with pytest.raises(ValueError, match=message):
        validate(tmp_path / "p")
