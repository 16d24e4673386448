"""``cbuild recipes``: what ``cbuild init`` chooses from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ..errors import CbuildError
from . import completion
from .options import offered

if TYPE_CHECKING:
    from ..registry import Registry
    from ..starter.recipes import Recipe

__all__ = ["command"]


def _completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from ..starter.recipes import recipes

    return completion.beginning(incomplete, recipes(offered()))


@click.command("recipes", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False, shell_complete=_completed)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a recipe.")
def command(name: str | None, as_json: bool) -> int:
    """List the recipes of the installed plugins, or show the one called NAME: whom it suits, its steps, its gates, its
    source, and what it gave on small models."""
    from ..starter.flow import flow
    from ..starter.recipes import find, recipes

    registry = offered()
    known = recipes(registry)
    shown = [find(known, name)] if name is not None else list(known.values())
    if as_json:
        for recipe in shown:
            given = msgspec.to_builtins(_given(registry, recipe))
            click.echo(msgspec.json.encode({**msgspec.to_builtins(recipe), "measured": given}).decode())
        return 0
    if name is None:
        width = max(map(len, known), default=0)
        for recipe in shown:
            click.echo(f"{recipe.name:{width}}  {', '.join(recipe.families)}: {recipe.summary}")
        return 0
    (recipe,) = shown
    click.echo(f"{recipe.name}: recipe of {recipe.plugin}\n\n{recipe.summary}\n")
    for word, values in (
        ("models", recipe.families),
        ("runtimes", recipe.runtimes),
        ("goals", recipe.goals),
        ("takes", (recipe.takes,)),
        ("data", recipe.needs or ("none",)),
    ):
        click.echo(f"{word:9} {', '.join(values)}")
    click.echo(f"source    {recipe.source}\n\nsteps")
    for step in recipe.steps:
        click.echo(f"  - {step if isinstance(step, str) else flow(step)[1:-1]}")
    gates = recipe.gates
    click.echo(f"\ngates\n  quality: {gates.quality_drop} below the baseline at most")
    for metric, ratio in (("size", gates.size), ("latency", gates.latency)):
        if ratio is not None:
            click.echo(f"  {metric}: ×{ratio} of the baseline's at most" + (" (goal latency)" * (metric == "latency")))
    if (given := _given(registry, recipe)) is not None:
        _show(given)
    return 0


class _Result(msgspec.Struct, frozen=True):
    """Beside the same model as it came, on the same runtime. ``value`` and ``baseline``: of ``quality``, on ``samples``
    samples. ``size``: a ratio. ``latency``: a ratio with the ends of its 95 % interval. ``missed``: gates of the
    recipe."""

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


class _Given(msgspec.Struct, frozen=True):
    """What a recipe gave. ``failed``: why it could not be built on a model."""

    date: str
    machine: str
    software: dict[str, str]
    rows: tuple[_Result, ...]
    failed: tuple[str, ...]


class _Rows(msgspec.Struct, frozen=True):
    rows: tuple[_Result, ...]
    failed: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True):
    """``recipes/measured.json`` of a plugin; ``benchmarks/recipes.py`` writes that of ours."""

    date: str
    machine: str
    software: dict[str, str]
    recipes: dict[str, _Rows]


def _given(registry: Registry, recipe: Recipe) -> _Given | None:
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
    return _Given(file.date, file.machine, file.software, own.rows, own.failed)


def _show(given: _Given) -> None:
    software = ", ".join(f"{name} {version}" for name, version in given.software.items())
    click.echo(f"\nmeasured {given.date} on {given.machine}; {software}")
    for row in given.rows:
        parts = []
        if row.quality is not None:
            parts.append(f"{row.quality} {row.baseline:.4g} → {row.value:.4g} ({row.samples} samples)")
        else:
            parts.append("compiled, not run")
        parts.append(f"size ×{row.size:.3g}")
        if row.latency is not None:
            ratio, low, high = row.latency
            parts.append(f"latency ×{ratio:.2f} [{low:.2f}–{high:.2f}]" + (" (noisy)" if row.noisy else ""))
        missed = f"; misses its gate on {', '.join(row.missed)}" if row.missed else ""
        click.echo(f"  {row.model}, {row.runtime}: {', '.join(parts)}{missed}")
    for why in given.failed:
        click.echo(f"  not measured: {why}")
