"""What is measured of a target: accuracy, size, multiply-accumulates, parameters, latency."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from compressbuild.api import DatasetRef, Kind, Meta, Metric, Needs, Params, Technique, hookimpl

__all__ = ["Accuracy", "Latency", "Predict", "Shapes"]

_Sizes = dict[str, Annotated[int, Meta(ge=1)]]
_NUMPY = Needs(modules=("numpy",), install="pip install 'compressbuild[metrics]'")


class Predict(Params):
    """Run a model over a dataset and keep what it answers."""

    data: DatasetRef
    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 64


class Accuracy(Params):
    """Which output is compared with the labels, and which labels count."""

    output: (
        Annotated[str, Meta(description="name of the model's output; by default 'logits', or else the first")] | None
    ) = None
    ignore: Annotated[int, Meta(description="a label that is left out, as in torch's cross entropy")] = -100


class Shapes(Params):
    """The sizes that a model's cost is counted for: one sample, and its other dynamic axes."""

    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}


class Latency(Params):
    """How a run is timed."""

    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    blocks: Annotated[int, Meta(ge=5, le=10_000, description="most blocks of runs that are compared")] = 200
    seconds: Annotated[float, Meta(gt=0, le=600, description="time to measure; up to twice that if it is noisy")] = 1.5
    warmup: Annotated[int, Meta(ge=1, le=10_000, description="runs before the first that counts")] = 5
    seed: Annotated[int, Meta(ge=0, description="of the random inputs and of the bootstrap")] = 0


@hookimpl
def compressbuild_kinds() -> Iterator[Kind]:
    yield Kind(
        name="predictions",
        files=("predictions.json", "labels.npy", "outputs/*.npy"),
        summary="a model's outputs on a dataset, with the labels",
        validate="cbuild_metrics.predictions:validate",
    )


@hookimpl
def compressbuild_techniques() -> Iterator[Technique]:
    yield Technique(
        name="metrics.predict",
        run="cbuild_metrics.predict:predict",
        params=Predict,
        produces="predictions",
        tools=("numpy",),
        needs=_NUMPY,
    )


@hookimpl
def compressbuild_metrics() -> Iterator[Metric]:
    for k in (1, 5):
        yield Metric(
            name=f"top{k}",
            summary=f"share of samples whose label is {'the' if k == 1 else 'among the five'} likeliest",
            run=f"cbuild_metrics.accuracy:top{k}",
            params=Accuracy,
            of="predictions",
            via="metrics.predict",
            direction="higher",
            tools=("numpy",),
        )
    yield Metric(
        name="size",
        summary="bytes of all files of the artifact",
        run="cbuild_metrics.size:size",
        unit="B",
        direction="lower",
    )
    yield Metric(
        name="macs",
        summary="multiply-accumulates of one sample",
        source="counted from the shapes of a real run: convolutions, matrix products, recurrences, attention",
        run="cbuild_metrics.macs:macs",
        params=Shapes,
        of="model",
        kinds=("torch-model", "onnx"),
        direction="lower",
        tools=("torch", "onnx", "onnxruntime"),
    )
    yield Metric(
        name="parameters",
        summary="trained numbers",
        run="cbuild_metrics.parameters:parameters",
        of="model",
        kinds=("torch-model", "onnx"),
        direction="lower",
        tools=("torch", "onnx"),
    )
    yield Metric(
        name="latency",
        summary="median time of a run, with its ratio to the baseline",
        source="interleaved blocks; ratio: median over paired blocks, percentile bootstrap (Efron 1979)",
        run="cbuild_metrics.latency:latency",
        params=Latency,
        unit="ms",
        of="runner",
        direction="lower",
        exclusive=True,
        tools=("numpy",),
    )
