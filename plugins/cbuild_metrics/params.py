"""Parameters of the metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from compressbuild.api import DatasetRef, FunctionRef, Meta, Params

__all__ = [
    "Accuracy",
    "Averaged",
    "Compressed",
    "Latency",
    "Load",
    "Memory",
    "Output",
    "Predict",
    "Roofline",
    "Shapes",
    "Text",
    "Throughput",
    "UserFunction",
]

_Sizes = dict[str, Annotated[int, Meta(ge=1)]]
OutputName = (
    Annotated[str, Meta(description="name of the model's output; by default 'logits', or else the first")] | None
)
Ignored = Annotated[int, Meta(description="a label that is left out, as in torch's cross entropy")]


class Predict(Params):
    """Run a model over a dataset and keep what it answers."""

    data: DatasetRef
    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 64


class Output(Params):
    """Which output is looked at."""

    output: OutputName = None


class Accuracy(Params):
    """Which output is compared with the labels, and which labels count."""

    output: OutputName = None
    ignore: Ignored = -100


class Averaged(Params):
    """As for accuracy, and how the classes' scores become one."""

    output: OutputName = None
    ignore: Ignored = -100
    average: Annotated[
        Literal["macro", "micro", "weighted"],
        Meta(description="mean over classes, over samples, or over classes by how often each occurs"),
    ] = "macro"


class UserFunction(Params):
    """A function of the project: f(outputs, labels, **args) returns a number, or a mapping with 'value'."""

    function: FunctionRef
    args: Annotated[dict[str, Any], Meta(description="keyword arguments")] = {}


class Text(Params):
    """How token numbers become text, and which are left out."""

    decode: Annotated[FunctionRef, Meta(description="f(numbers of one sample) → str")]
    output: OutputName = None
    ignore: Ignored = -100


class Compressed(Params):
    """How the files are packed."""

    method: Literal["zlib", "bz2", "lzma"] = "zlib"


class Shapes(Params):
    """The sizes that a model's cost is counted for: one sample, and its other dynamic axes."""

    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}


class Latency(Params):
    """How a run is timed."""

    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    sessions: Annotated[int, Meta(ge=4, le=100, description="times that the models are loaded anew")] = 8
    blocks: Annotated[int, Meta(ge=5, le=10_000, description="most blocks of runs that are compared")] = 400
    seconds: Annotated[float, Meta(gt=0, le=600, description="time to measure; up to twice that if it is noisy")] = 2.0
    warmup: Annotated[int, Meta(ge=1, le=10_000, description="runs before the first that counts, in each session")] = 5
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0


class Throughput(Params):
    """At which batch sizes runs are timed."""

    batches: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)] = (1, 8, 64)
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    seconds: Annotated[float, Meta(gt=0, le=600, description="for each; up to twice that if it is noisy")] = 0.5
    warmup: Annotated[int, Meta(ge=1, le=10_000)] = 3
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0


class Load(Params):
    """How often the artifact is loaded."""

    repeat: Annotated[int, Meta(ge=1, le=1000, description="times that count; one more comes before them")] = 5


class Memory(Params):
    """What runs while memory is watched."""

    batch: Annotated[int, Meta(ge=1)] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    runs: Annotated[int, Meta(ge=1, le=10_000)] = 3


class Roofline(Params):
    """What is run, and how long it and the machine's ceilings are measured."""

    batch: Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")] = 1
    axes: Annotated[_Sizes, Meta(description="dynamic axis → size; 16 unless named")] = {}
    seconds: Annotated[float, Meta(gt=0, le=600, description="for the run, and again for the ceilings")] = 1.0
    warmup: Annotated[int, Meta(ge=1, le=10_000)] = 3
    seed: Annotated[int, Meta(ge=0, description="of the random inputs")] = 0
