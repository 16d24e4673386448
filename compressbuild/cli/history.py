"""``cbuild history TARGET``: what each publication of a target measured."""

from __future__ import annotations

import click
import msgspec

from ..errors import CbuildError, UsageError
from ..evaluate.history import History
from ..report.text.trend import trend_lines
from ..words import suggest
from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("history", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", shell_complete=completion.target)
@project_options
@click.option("-n", "--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(target: str, file: str, overrides: tuple[str, ...], cache_dir: str | None, last: int, as_json: bool) -> int:
    """Show a target's metrics over time: one line for each time it was published."""
    with opened(file, overrides, cache_dir) as project:
        entries, bad = History(project.state / "history").read(target)
        if not entries:
            if target not in project.spec.targets:
                hint = suggest(target, project.spec.targets, otherwise="see 'cbuild list'")
                raise UsageError(f"unknown target '{target}'", hint=hint)
            if bad:
                place = History(project.state / "history").path(target)
                raise CbuildError(
                    f"the history of '{target}' is damaged: no line of {place} can be read",
                    hint="move the file away: the next publication starts another",
                )
            raise UsageError(f"'{target}' has never been published here", hint=f"cbuild {target}")
        if as_json:
            shown = {"target": target, "damaged": bad, "entries": msgspec.to_builtins(entries[-last:])}
            click.echo(msgspec.json.encode(shown).decode())
            return 0
        metrics = project.graph.metrics
        units = {name: metric.unit for name, metric in metrics.items()}
        directions = {name: metric.direction for name, metric in metrics.items()}
        click.echo(f"{target}: published {len(entries)} time{'s' * (len(entries) != 1)}")
        for line in trend_lines(entries, units, directions, last):
            click.echo(line)
        if bad:
            click.echo(
                f"{bad} damaged lines of {History(project.state / 'history').path(target)} are left out", err=True
            )
    return 0
