"""Keys that sources of numbers share."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params

__all__ = ["Scaled"]


class Scaled(Params):
    """How stored numbers become the input."""

    divide: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="values are divided by it first: 255 for pixels")
    ] = None
    mean: Annotated[
        tuple[float, ...], Meta(description="subtracted after that: one number, or one for each channel")
    ] = ()
    std: Annotated[tuple[float, ...], Meta(description="divisor after that: one number, or one for each channel")] = ()
    dtype: Annotated[
        Literal["float32", "float16", "float64", "int8", "int32", "int64", "uint8", "bool"] | None,
        Meta(description="type of the input; by default as stored, and float32 where values are scaled"),
    ] = None

    def __post_init__(self) -> None:
        if any(value <= 0 for value in self.std):
            raise ValueError("each number of `std` must be above 0")

    @property
    def is_scaling(self) -> bool:
        return self.divide is not None or bool(self.mean) or bool(self.std) or self.dtype is not None
