"""``cbuild why TARGET``: what would run, and what changed to make it so."""

from __future__ import annotations

import click
import msgspec

from ..plan import say
from ..project import connected
from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("why", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…", shell_complete=completion.targets)
@project_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a node.")
def command(
    targets: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool
) -> int:
    """Say for each node of a target why it would run, or that it is cached."""
    with opened(file, overrides, cache_dir) as project:
        connected(project)
        plan = project.plan(project.select(targets).names)
        for action in plan.actions.values():
            if as_json:
                row = {"node": action.node.position, "status": action.status, "key": action.key, "why": action.why}
                click.echo(msgspec.json.encode(row).decode())
                continue
            why = action.why
            click.echo(f"{action.status:8} {action.node.position}")
            for change in why.changes:
                click.echo(f"           {say(change)}")
            if why.depends:
                click.echo(f"           depends on {', '.join(why.depends)}")
            if why.reason == "first build":
                click.echo("           never built here")
            elif why.detail:
                click.echo(f"           {why.detail}")
        cached = plan.count("cached")
        if not as_json:
            click.echo(f"{cached} of {len(plan.actions)} nodes cached")
    return 0
