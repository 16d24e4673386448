"""Parameters of the metric ``user``."""

from __future__ import annotations

from typing import Annotated, Any

from compressbuild.api import FunctionRef, Meta, Params

__all__ = ["UserFunction"]


class UserFunction(Params):
    """A function of the project: f(outputs, labels, **args) returns a number, or a mapping with 'value'."""

    function: Annotated[
        FunctionRef,
        Meta(description="your function, `f(outputs, labels, **args)` → a number, or a mapping with `value`"),
    ]
    args: Annotated[dict[str, Any], Meta(description="keyword arguments of the function")] = {}
