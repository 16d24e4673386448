"""Parameters of the metrics of answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from compressbuild.api import (
    FunctionRef,
    Label,
    Meta,
    Params,
)

from ..answers.params import Ignored, OutputName

__all__ = ["Accuracy", "Averaged", "Output", "Text", "UserFunction"]


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
    name: Annotated[
        str,
        Meta(
            description="what the metric is called in tables, gates and reports; of several each needs its own",
            pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$",
        ),
    ] = "user"
    direction: Annotated[Literal["lower", "higher", "none"], Meta(description="which way is better")] = "none"
    unit: Annotated[str, Meta(max_length=20, description="what it is counted in: %, dB …")] = ""

    def measured_as(self) -> Label:
        return Label(name=self.name, unit=self.unit, direction=self.direction)


class Text(Params):
    """How token numbers become text, and which are left out."""

    decode: Annotated[FunctionRef, Meta(description="f(numbers of one sample) → str")]
    output: OutputName = None
    ignore: Ignored = -100
