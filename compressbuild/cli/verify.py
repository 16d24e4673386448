"""``cbuild verify``: are the published artifacts what their provenance says?"""

from __future__ import annotations

import click
import msgspec

from .. import publish
from ..build import provenance
from ..compressfile.select import select
from .options import opened, project_options

__all__ = ["command"]


@click.command("verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1)
@project_options
def command(targets: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Hash every published file again and compare it with provenance.json. Exit 1 if one differs."""
    bad = checked = 0
    with opened(file, overrides, cache_dir) as project:
        names = select(project.spec, targets or ("all",))[0]
        for name in names:
            directory = project.publisher.path(name)
            if not directory.is_dir():
                if targets:
                    click.echo(f"{name}: not published")
                    bad += 1
                continue
            checked += 1
            try:
                mismatches = [f"{m.path} {m.what}" for m in provenance.verify(directory)]
            except (FileNotFoundError, msgspec.DecodeError) as error:
                mismatches = [f"{publish.SEAL} cannot be read ({error})"]
            bad += bool(mismatches)
            click.echo(f"{name}: {', '.join(mismatches) if mismatches else 'ok'}")
    click.echo(f"{checked} checked, {bad} bad")
    return 1 if bad else 0
