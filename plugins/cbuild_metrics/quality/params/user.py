"""Parameters of the metric ``user``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from compressbuild.api import FunctionRef, Label, Meta, Params

__all__ = ["UserFunction"]


class UserFunction(Params):
    """Your own function: f(outputs, labels, **args) returns a number, or a mapping with 'value'."""

    function: Annotated[
        FunctionRef,
        Meta(description="your function, `f(outputs, labels, **args)` → a number, or a mapping with `value`"),
    ]
    args: Annotated[dict[str, Any], Meta(description="keyword arguments of the function")] = {}
    name: Annotated[
        str,
        Meta(
            description="name of the metric in tables, gates and reports; each of several needs its own",
            pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$",
        ),
    ] = "user"
    direction: Annotated[Literal["lower", "higher", "none"], Meta(description="which way is better")] = "none"
    unit: Annotated[str, Meta(max_length=20, description="unit, such as % or dB")] = ""

    def measured_as(self) -> Label:
        return Label(name=self.name, unit=self.unit, direction=self.direction)
