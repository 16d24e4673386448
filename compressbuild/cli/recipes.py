"""``cbuild recipes``: what ``cbuild init`` chooses from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from . import completion
from .options import offered

if TYPE_CHECKING:
    from ..starter.measured import Measured

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
    from ..starter.choices import SPEED
    from ..starter.flow import flow
    from ..starter.measured import measured
    from ..starter.measures import costs
    from ..starter.recipes import find, recipes

    registry = offered()
    known = recipes(registry)
    shown = [find(known, name)] if name is not None else list(known.values())
    if as_json:
        for recipe in shown:
            given = msgspec.to_builtins(measured(registry, recipe))
            click.echo(msgspec.json.encode({**msgspec.to_builtins(recipe), "measured": given}).decode())
        return 0
    if name is None:
        width = max(map(len, known), default=0)
        for recipe in shown:
            click.echo(f"{recipe.name:{width}}  {', '.join(recipe.families) or 'any'}: {recipe.summary}")
        return 0
    (recipe,) = shown
    click.echo(f"{recipe.name}: recipe of {recipe.plugin}\n\n{recipe.summary}\n")
    for word, values in (
        ("models", recipe.families),
        ("runtimes", recipe.runtimes),
        ("goals", recipe.goals),
        ("takes", (recipe.takes,)),
        ("data", (*recipe.needs, *(f"{part} (optional)" for part in recipe.wishes)) or ("none",)),
    ):
        click.echo(f"{word:9} {', '.join(values) or 'any'}")
    click.echo(f"source    {recipe.source}\n\nsteps")
    for step in recipe.steps:
        click.echo(f"  - {step if isinstance(step, str) else flow(step)[1:-1]}")
    if recipe.role != "compress":
        return 0
    gates = recipe.gates
    click.echo(f"\ngates\n  quality: {gates.quality_drop} below the baseline at most")
    speed, size = costs(registry)
    for metric, ratio, goal in ((size, gates.size, ""), (speed, gates.latency, f" (goal {SPEED})")):
        if ratio is not None and metric is not None:
            click.echo(f"  {metric}: ×{ratio} of the baseline's at most{goal}")
    if (given := measured(registry, recipe)) is not None:
        _show(given)
    return 0


def _show(given: Measured) -> None:
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
        apart = [own for own, head in ((row.date, given.date), (row.machine, given.machine)) if own not in ("", head)]
        older = f" ({', '.join(apart)})" if apart else ""
        click.echo(f"  {row.model}, {row.runtime}{older}: {', '.join(parts)}{missed}")
    for why in given.failed:
        click.echo(f"  not measured: {why}")
