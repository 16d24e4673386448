"""What a recipe gave on small models: ``recipes/measured.json`` of the plugin that it comes with."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import CbuildError
from ..registry import Registry
from .recipes import Recipe

__all__ = ["Measured", "Result", "measured"]


class Result(msgspec.Struct, frozen=True):
    """Beside the same model as it came, on the same runtime. ``value`` and ``baseline``: of ``quality``, on ``samples``
    samples. ``size``: a ratio. ``latency``: a ratio with the ends of its 95 % interval. ``missed``: gates of the
    recipe. ``date`` and ``machine``: empty for those of the file."""

    model: str
    runtime: str
    size: float
    quality: str | None = None
    value: float = 0.0
    baseline: float = 0.0
    samples: int = 0
    latency: tuple[float, float, float] | None = None
    noisy: bool = False
    missed: tuple[str, ...] = ()
    date: str = ""
    machine: str = ""


class Measured(msgspec.Struct, frozen=True):
    """What a recipe gave. ``failed``: why it could not be built on a model."""

    date: str
    machine: str
    software: dict[str, str]
    rows: tuple[Result, ...]
    failed: tuple[str, ...]


class _Rows(msgspec.Struct, frozen=True):
    rows: tuple[Result, ...]
    failed: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    """``recipes/measured.json`` of a plugin; ``benchmarks/recipes.py`` writes that of ours."""

    date: str
    machine: str
    software: dict[str, str]
    recipes: dict[str, _Rows]


def measured(registry: Registry, recipe: Recipe) -> Measured | None:
    """None where the plugin has not measured the recipe."""
    plugin = next(each for each in registry.plugins if each.name == recipe.plugin)
    path = Path(plugin.file or "").parent / "recipes" / "measured.json"
    if not path.is_file():
        return None
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CbuildError(
            f"what plugin '{recipe.plugin}' measured cannot be read: {error}", hint=f"the file is {path}"
        ) from error
    if (own := file.recipes.get(recipe.name)) is None:
        return None
    return Measured(file.date, file.machine, file.software, own.rows, own.failed)
