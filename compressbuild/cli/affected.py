"""``cbuild affected --since REF``: the targets that a change concerns, for a build of no more than those."""

from __future__ import annotations

from contextlib import ExitStack

import click
import msgspec

from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("affected", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, metavar="[TARGET…]", shell_complete=completion.targets)
@project_options
@click.option("--since", "ref", required=True, metavar="REF", help="The git revision to compare with.")
@click.option("--until", "end", metavar="REF", help="A second revision to compare, in place of the work tree.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a target, with what differs.")
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    ref: str,
    end: str | None,
    as_json: bool,
) -> int:
    """List the targets (of all, or of those named) that would be made differently than at a git revision. Nothing is
    built, and nothing is printed if there is none: 'cbuild affected --since main | xargs -r cbuild' builds them."""
    from ..revision import affected, revised

    with opened(file, overrides, cache_dir) as home, ExitStack() as stack:
        project, notes = home, list[str]()
        if end is not None:
            project, notes = stack.enter_context(revised(home, end, overrides))
        selection = project.select(targets or ("all",))
        until = (home, end) if end is not None else None
        found = affected(project, ref, selection.names, overrides, until=until)
        for note in dict.fromkeys((*notes, *found.notes)):
            click.echo(f"note: {note}", err=True)
        for name, reason in selection.skipped.items():
            click.echo(f"note: skipped {name}: {reason}", err=True)
        for name, why in found.targets.items():
            row = msgspec.json.encode({"target": name, "differs": why}).decode()
            click.echo(row if as_json else name)
    return 0
