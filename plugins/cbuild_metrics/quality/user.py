"""A metric that is a function of the user's project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbuild_kit.predictions import Predictions

from compressbuild.api import Context, UserError

from .params.user import UserFunction

__all__ = ["user"]


def user(ctx: Context, subject: Path, params: UserFunction) -> dict[str, Any]:
    """What ``function(outputs, labels, **args)`` returns: a number, or a mapping with at least ``value``.

    ``outputs``: output name → array N×…; ``labels``: N×… . A mapping may have ``per_class``: name → ``{"value":
    number}`` or ``{"n", "correct"}``, for classes or for any other slices of the data, which gates can limit.
    """
    predictions = Predictions.read(subject)
    found = ctx.function(params.function)(dict(predictions.outputs), predictions.labels, **params.args)
    result = dict(found) if isinstance(found, Mapping) else {"value": found}
    try:
        value = float(result["value"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{params.function} returned {repr(found)[:200]}, not a number",
            hint="return a number, or a mapping with at least 'value'",
        ) from None
    return {**{str(key): _plain(item) for key, item in result.items()}, "value": value}


def _plain(value: Any) -> Any:
    """JSON values of numpy ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
