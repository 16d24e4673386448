"""``cbuild clean``: remove what targets published that are no longer declared."""

from __future__ import annotations

import click

from ..project import undeclared
from .options import opened, project_options

__all__ = ["command"]


@click.command("clean", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@project_options
def command(*, dry_run: bool, file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Remove published artifacts of targets that the Compressfile no longer declares. Directories without a
    provenance.json are nobody's, and stay; so does the cache ('cbuild cache gc')."""
    with opened(file, overrides, cache_dir) as project:
        if not dry_run:
            project.publisher.sweep()  # what an earlier one could not remove, or was killed over
        found = undeclared(project)
        for name in found:
            if not dry_run:
                project.publisher.withdraw(name)
            click.echo(f"{'would remove' if dry_run else 'removed'} {project.published.name}/{name}")
        if not found:
            click.echo("nothing to remove: every published target is declared")
    return 0
