"""``cbuild skill``: the method of an expert, for coding agents."""

from __future__ import annotations

import click

from ..agents.skill import path

__all__ = ["command"]


@click.command("skill", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--path", "as_path", is_flag=True, help="Print where the file is, to copy or link it.")
def command(as_path: bool) -> int:
    """Print the skill 'model-compression': how an expert compresses a model with cbuild, for a coding agent to read."""
    file = path()
    if as_path:
        click.echo(file)
        return 0
    with open(file, encoding="utf-8") as text:
        click.echo(text.read(), nl=False)
    return 0
