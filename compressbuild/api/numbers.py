"""Number types for parameters, so that every plugin refuses the same nonsense in the same words; and sizes in text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ..words import parsed_size

__all__ = ["Amount", "Count", "Positive", "Rate", "Ratio", "Share", "parsed_size"]

Positive = Annotated[int, Meta(ge=1)]
"""A whole number from 1: samples, epochs, bits."""

Count = Annotated[int, Meta(ge=0)]
"""A whole number from 0."""

Amount = Annotated[float, Meta(ge=0)]
"""A number from 0: a tolerance, a weight of a loss."""

Rate = Annotated[float, Meta(gt=0)]
"""A number above 0: a learning rate, a temperature."""

Ratio = Annotated[float, Meta(ge=0, lt=1)]
"""A share below 1: what may be removed."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""A share from 0 to 1."""
