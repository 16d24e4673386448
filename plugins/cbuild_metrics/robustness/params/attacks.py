"""Parameters of attacks, and of the accuracy under them."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import DatasetRef, Meta, ModelRef, Params, Positive, Rate

from ...answers.fields import Batch, OutputName

__all__ = ["Attacked", "Fgsm", "FgsmAccuracy", "Pgd", "PgdAccuracy"]

_Steps = Annotated[int, Meta(ge=1, le=1000, description="steps of the descent")]
_Step = Annotated[Rate | None, Meta(description="length of a step; without it, 2.5 eps / steps")]
_RandomStart = Annotated[
    bool, Meta(description="start from a random point of the ball (uniform, seeded), not from the input itself")
]
_Attacked = Annotated[
    DatasetRef, Meta(description="dataset to attack, whose labels are classes; `evaluate: data` sets it")
]
_Surrogate = Annotated[
    ModelRef | None,
    Meta(description="the torch model that is attacked; without it, the one that the target was made from"),
]


class _Ball(Params):
    """How far an attack may change an input."""

    eps: Annotated[
        tuple[Rate, ...],
        Meta(
            min_length=1,
            description="largest change of a number, in the units of `mean` and `std`; each of several gives a row",
        ),
    ] = (8 / 255,)
    clip: Annotated[
        tuple[float, float] | None,
        Meta(description="range of valid numbers, `[0, 1]` for pixels; without it, that of the data attacked"),
    ] = None
    mean: Annotated[
        tuple[float, ...],
        Meta(min_length=1, description="what the loader subtracts from each channel (axis 1), or one number for all"),
    ] = (0.0,)
    std: Annotated[
        tuple[Rate, ...],
        Meta(
            min_length=1,
            description="what the loader then divides each channel by, or one number for all; `eps` and `clip` are "
            "those of input · std + mean",
        ),
    ] = (1.0,)
    samples: Annotated[Positive, Meta(description="number of samples attacked, from the first on")] = 1000

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip[0] >= self.clip[1]:
            raise ValueError(f"`clip` is empty: {self.clip[0]:g} is not below {self.clip[1]:g}")
        if len({f"{eps:.4g}" for eps in self.eps}) < len(self.eps):
            raise ValueError("`eps` has a value twice")


class Fgsm(_Ball, kw_only=True):
    """Change each input by one step along the sign of the loss' gradient."""

    data: _Attacked


class Pgd(_Ball, kw_only=True):
    """Change each input by steps along the sign of the loss' gradient, never farther than eps."""

    data: _Attacked
    steps: _Steps = 10
    step: _Step = None
    random_start: _RandomStart = True


class FgsmAccuracy(_Ball):
    """The attack, the torch model it is made on, and which output is compared with the labels."""

    surrogate: _Surrogate = None
    output: OutputName = None


class PgdAccuracy(_Ball):
    """The attack, the torch model it is made on, and which output is compared with the labels."""

    steps: _Steps = 10
    step: _Step = None
    random_start: _RandomStart = True
    surrogate: _Surrogate = None
    output: OutputName = None


class Attacked(Params):
    """Run a model over examples made before."""

    batch: Batch = 64
