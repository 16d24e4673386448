"""``cbuild schema``: the Compressfile's JSON Schema, with the parameters of every installed plugin."""

from __future__ import annotations

import click
import msgspec

from ..compressfile.schema import schema
from .options import offered

__all__ = ["command"]


@click.command("schema", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> int:
    """Print a JSON Schema (draft 2020-12) of the Compressfile, for editors:

    cbuild schema > compressfile.schema.json
    """
    registry = offered()
    found = schema(
        {name: record.params for name, record in registry.techniques.items()},
        {name: record.settings for name, record in registry.backends.items()},
        {name: record.params for name, record in registry.metrics.items()},
        {name: record.backend for name, record in registry.platforms.items()},
        *({name: registry.sources[name].params for name in registry.sources_of(of)} for of in ("model", "dataset")),
    )
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    return 0
