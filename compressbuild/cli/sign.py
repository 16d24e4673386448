"""``cbuild sign``: vouch for what is published."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..build.envelope import Envelope
from ..build.verification import verify
from ..compressfile.select import select
from ..errors import CbuildError, UsageError
from ..publish import SEAL
from ..signing import VARIABLE, SigningKey
from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("sign", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@click.option(
    "--key",
    metavar="FILE",
    shell_complete=completion.files,
    help=f"The private ed25519 key (PEM); default: ${VARIABLE}.",
)
@project_options
def command(
    targets: tuple[str, ...], key: str | None, file: str, overrides: tuple[str, ...], cache_dir: str | None
) -> int:
    """Sign the provenance of published targets (default: all). What differs from its provenance is not signed."""
    with opened(file, overrides, cache_dir) as project:
        path = key or project.environ.get(VARIABLE)
        if not path:
            raise UsageError("no key to sign with", hint=f"give --key FILE, or set ${VARIABLE}")
        signer = SigningKey(Path(path))
        publisher = project.publisher
        names = select(project.spec, targets or ("all",))[0]
        names = names if targets else tuple(name for name in names if os.path.lexists(publisher.path(name)))
        refused = []
        for name in names:
            directory = publisher.path(name)
            if not os.path.lexists(directory):
                refused.append(f"{name}: not published")
            elif mismatches := verify(directory, name).mismatches:
                refused.append(f"{name}: {', '.join(map(str, mismatches))}")
            else:
                publisher.reseal(name, Envelope.read(directory / SEAL).signed(signer).encode())
                click.echo(f"{name}: signed by {signer.keyid}")
    if refused:
        raise CbuildError("not signed: " + "; ".join(refused), hint=f"'cbuild {' '.join(names)}' publishes it again")
    return 0
