"""Parameters of what a target does with inputs that are not like those it learnt from."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, FunctionRef, Meta, ModelRef, Params

from ..answers.params import Ignored, OutputName

__all__ = [
    "Attacked",
    "Corrupt",
    "Corruption",
    "Edges",
    "Fgsm",
    "FgsmAccuracy",
    "Outside",
    "OutsideScores",
    "Pgd",
    "PgdAccuracy",
    "PredictEdges",
    "PredictSliced",
    "Slices",
]

_Batch = Annotated[int, Meta(ge=1, description="samples a run, where the model leaves it open")]
_Corruptions = Annotated[
    tuple[Literal["noise", "contrast", "brightness", "blur", "jpeg"], ...],
    Meta(min_length=1, description="each by itself"),
]
_Severities = Annotated[tuple[Annotated[int, Meta(ge=1, le=5)], ...], Meta(min_length=1, description="1 to 5")]
_ALL_CORRUPTIONS = ("noise", "contrast", "brightness", "blur", "jpeg")


class Corrupt(Params):
    """Run a model over corruptions of a dataset and keep what it answers."""

    data: DatasetRef
    batch: _Batch = 64
    corruptions: _Corruptions = _ALL_CORRUPTIONS
    severities: _Severities = (1, 3, 5)


class Corruption(Params):
    """Which corruptions, which output is compared with the labels, and which labels count."""

    corruptions: _Corruptions = _ALL_CORRUPTIONS
    severities: _Severities = (1, 3, 5)
    output: OutputName = None
    ignore: Ignored = -100


_Steps = Annotated[int, Meta(ge=1, le=1000, description="of the descent")]
_Step = Annotated[float, Meta(gt=0, description="length of one; by default 2.5 eps / steps")]
_RandomStart = Annotated[bool, Meta(description="from a uniform point of the ball, not from the input")]


class _Ball(Params):
    """How far an attack may change an input."""

    eps: Annotated[
        tuple[Annotated[float, Meta(gt=0)], ...],
        Meta(min_length=1, description="largest change of a number, in the units of mean and std; one or more"),
    ] = (8 / 255,)
    clip: Annotated[
        tuple[float, float] | None, Meta(description="range of valid numbers; by default that of the data attacked")
    ] = None
    mean: Annotated[
        tuple[float, ...], Meta(min_length=1, description="what the loader takes off each channel (axis 1), or all")
    ] = (0.0,)
    std: Annotated[
        tuple[Annotated[float, Meta(gt=0)], ...],
        Meta(min_length=1, description="what the loader then divides each channel by, or all"),
    ] = (1.0,)
    samples: Annotated[int, Meta(ge=1, description="the first so many of the data are attacked")] = 1000

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError(f"`clip` is empty: {self.clip[0]:g} is not below {self.clip[1]:g}")
        if len({f"{eps:.4g}" for eps in self.eps}) < len(self.eps):
            raise ValueError("`eps` has a value twice")


class Fgsm(_Ball, kw_only=True):
    """Change each input by one step along the sign of the loss' gradient."""

    data: DatasetRef


class Pgd(_Ball, kw_only=True):
    """Change each input by steps along the sign of the loss' gradient, never farther than eps."""

    data: DatasetRef
    steps: _Steps = 10
    step: _Step | None = None
    random_start: _RandomStart = True


class FgsmAccuracy(_Ball):
    """The attack, the torch model it is made on, and which output is compared with the labels."""

    surrogate: ModelRef | None = None
    output: OutputName = None


class PgdAccuracy(_Ball):
    """The attack, the torch model it is made on, and which output is compared with the labels."""

    steps: _Steps = 10
    step: _Step | None = None
    random_start: _RandomStart = True
    surrogate: ModelRef | None = None
    output: OutputName = None


class Attacked(Params):
    """Run a model over examples made before."""

    batch: _Batch = 64


class Outside(Params):
    """Run a model over its data and over data of another kind."""

    data: DatasetRef
    outside: DatasetRef
    batch: _Batch = 64


class OutsideScores(Params):
    """Data that the model was not made for, and by what score it is told apart."""

    outside: DatasetRef
    score: Literal["msp", "energy"] = "msp"
    output: OutputName = None


Case = Literal["zeros", "least", "greatest", "lowest", "highest", "nan", "infinite"]
_Cases = Annotated[tuple[Case, ...], Meta(min_length=1)]
_ALL_CASES = ("zeros", "least", "greatest", "lowest", "highest", "nan", "infinite")


class PredictEdges(Params):
    """Run a model on inputs that hardly occur."""

    data: DatasetRef
    cases: _Cases = _ALL_CASES


class Edges(Params):
    """The inputs tried, and what counts as the same answer."""

    cases: _Cases = _ALL_CASES
    tolerance: Annotated[float, Meta(ge=0, description="largest difference, as a share of the largest answer")] = 0.25
    output: OutputName = None


class _Named(Params):
    """Where the name of a sample's slice comes from."""

    by: Annotated[FunctionRef | None, Meta(description="f(inputs, labels) of a batch → a name for each sample")] = None
    column: Annotated[str | None, Meta(description="a name in the loader's mapping of inputs")] = None

    def __post_init__(self) -> None:
        if (self.by is None) == (self.column is None):
            raise ValueError("give either `by`, a function, or `column`, a name in the loader's inputs")


class PredictSliced(_Named, kw_only=True):
    """Run a model over a dataset and keep what it answers, and the slice that each sample is of."""

    data: DatasetRef
    batch: _Batch = 64


class Slices(_Named):
    """Slices of the data, and which output is compared with which labels."""

    output: OutputName = None
    ignore: Ignored = -100
