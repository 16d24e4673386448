"""``cbuild verify``: are the published artifacts what their provenance says?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from ..build.verification import Verdict, verify
from ..compressfile.select import select
from ..errors import UsageError
from ..project import undeclared
from ..publish import SEAL
from ..signing import PublicKey
from . import completion
from .options import opened, project_options

__all__ = ["command"]

_UNSIGNED = (
    f"unsigned: this finds what changed since, not somebody who changed {SEAL} too; "
    "sign with 'cbuild sign', then verify with --key"
)
_UNCHECKED = "no signature was checked: whoever can write the files can write all of this; verify with --key"


@click.command("verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, metavar="[TARGET | DIRECTORY/]…", shell_complete=completion.places)
@click.option(
    "--key", metavar="FILE", shell_complete=completion.files, help="The public ed25519 key (PEM) that must have signed."
)
@click.option("--artifact", metavar="DIGEST", help="The digest the artifact must have: an older one is refused.")
@click.option("--target", "expected", metavar="NAME", shell_complete=completion.target,
    help="The target that DIRECTORY/ must hold (default: its name).",
)  # fmt: skip
@project_options
def command(
    targets: tuple[str, ...],
    key: str | None,
    artifact: str | None,
    expected: str | None,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
) -> int:
    """Hash every published file again and compare it with provenance.json. Exit 1 if one differs.

    A word with a slash is a directory, which needs no Compressfile: one artifact, or one with artifacts in it.
    """
    places = [word for word in targets if "/" in word]
    names = [word for word in targets if "/" not in word]
    gone: list[str] = []
    found = [pair for place in places for pair in _within(Path(place))]
    if names or not places:
        with opened(file, overrides, cache_dir) as project:
            found += [(n, project.publisher.path(n)) for n in select(project.spec, tuple(names) or ("all",))[0]]
            gone = [] if targets else undeclared(project)
    if not targets:
        found = [(name, directory) for name, directory in found if os.path.lexists(directory)]
    if len(found) != 1 and (artifact or expected):
        option = "--artifact" if artifact else "--target"
        raise UsageError(f"{option} is about one artifact, and this names {len(found)}", hint="name one directory")
    for name in gone:
        click.echo(f"{name}: published, but no longer declared ('cbuild clean' removes it)")
    return _report(found, PublicKey(Path(key)) if key else None, artifact, expected)


def _within(place: Path) -> Iterator[tuple[str, Path]]:
    """What a directory holds: itself if it has a seal, else everything in it has to be an artifact."""
    place = Path(os.path.abspath(place))
    if os.path.lexists(place / SEAL) or not place.is_dir() or not any(place.iterdir()):
        yield place.name, place
    else:
        yield from ((path.name, path) for path in sorted(place.iterdir()))


def _report(found: list[tuple[str, Path]], key: PublicKey | None, artifact: str | None, expected: str | None) -> int:
    bad, verdicts = 0, []
    for name, directory in found:
        shown = name if name.isprintable() else ascii(name)
        if not os.path.lexists(directory):
            click.echo(f"{shown}: not published")
            bad += 1
            continue
        verdict = verify(directory, expected or name, key=key, artifact=artifact)
        verdicts.append(verdict)
        bad += bool(verdict.mismatches)
        click.echo(f"{shown}: {', '.join(map(str, verdict.mismatches)) or _sound(verdict, key)}")
    if key is None and verdicts:
        click.echo(_UNCHECKED if all(verdict.signed for verdict in verdicts) else _UNSIGNED)
    click.echo(f"{len(verdicts)} checked, {bad} bad")
    return 1 if bad else 0


def _sound(verdict: Verdict, key: PublicKey | None) -> str:
    return f"ok, signed by {key.keyid[:16]}…, artifact {verdict.artifact}" if key else "ok"
