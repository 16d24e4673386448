"""``cbuild push``: what is published goes to where others find it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ..errors import UsageError
from ..words import number, suggest
from . import completion
from .options import opened, project_options

if TYPE_CHECKING:
    from ..compressfile.spec import PublishSpec
    from ..project import Project
    from ..push.parcel import Pushable
    from ..push.place import Place
    from ..push.push import Pushed
    from ..signing import PublicKey

__all__ = ["command"]

Job = tuple[str, tuple[str, ...], "PublishSpec | None"]
"""An address, the targets that go there, and the entry of ``publish`` that says so."""


@click.command("push", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="[TARGET…] [DEST]", shell_complete=completion.destinations)
@click.option("-n", "--dry-run", is_flag=True, help="Check the targets and look at the destination; change nothing.")
@click.option(
    "--key", metavar="FILE", shell_complete=completion.files, help="The public ed25519 key (PEM) that must have signed."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a target.")
@project_options
def command(
    words: tuple[str, ...],
    dry_run: bool,
    key: str | None,
    as_json: bool,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
) -> int:
    """Push published targets to a directory, an address such as s3://bucket/models, or an entry of 'publish'.

    DEST is a path with a slash, an address, or an entry's name; without words, every entry is pushed. What is there
    already is not uploaded again. Everything is read back and compared before anybody can see it.
    """
    with opened(file, overrides, cache_dir) as project:
        from ..push.parcel import parcels
        from ..push.place import placed

        places = [pair for job in _jobs(project, words) for pair in placed(project, *job).items()]
        signer = _public(key)
        wanted = tuple(dict.fromkeys(name for name, _ in places))
        ready = {found.parcel.target: found for found in parcels(project, wanted, signer)}
        if found := next((each for each in ready.values() if each.unchecked), None):
            click.echo(f"not compared with the Compressfile: {found.unchecked}", err=True)
        for name, place in places:
            done = _push(project, ready[name], place, dry_run=dry_run)
            click.echo(msgspec.json.encode(done).decode() if as_json else _line(done, len(ready[name].parcel.files)))
    return 0


def _public(path: str | None) -> PublicKey | None:
    from ..signing import PublicKey

    return PublicKey(Path(path)) if path else None


def _jobs(project: Project, words: tuple[str, ...]) -> Iterator[Job]:
    entries = project.spec.publish
    if not words:
        if not entries:
            raise UsageError(
                "the Compressfile has no 'publish'", hint="name a target and where it goes: cbuild push TARGET DEST"
            )
        yield from ((entry.to, entry.targets, entry) for entry in entries.values())
        return
    *wanted, to = words
    from ..compressfile.select import select

    entry = entries.get(to)
    if entry is None and "/" not in to:
        known = f"; entries of 'publish': {', '.join(entries)}" if entries else ""
        near = suggest(to, entries, otherwise="")
        raise UsageError(
            f"'{to}' is no destination",
            hint=near or f"the last word is a path with a slash (./models), an address (s3://bucket/models){known}",
        )
    if entry is None and not wanted:
        raise UsageError(f"no target was named for {to}", hint=f"cbuild push TARGET {to}")
    names = select(project.spec, tuple(wanted))[0] if wanted else entry.targets if entry is not None else ()
    if entry is not None:
        other = [name for name in names if name not in entry.targets]
        if other:
            hint = f"it is for {', '.join(entry.targets)}; add to its 'targets'"
            raise UsageError(f"'{to}' of 'publish' is not for {', '.join(other)}", hint=hint)
    yield (entry.to if entry is not None else to), names, entry


def _push(project: Project, found: Pushable, place: Place, *, dry_run: bool) -> Pushed:
    from ..push.parcel import refuse_modes
    from ..push.place import guarded
    from ..push.push import push

    refuse_modes(found, place.record, place.address)
    remote = place.open(project.environ)
    with guarded(place.address, project.environ):
        return push(found.parcel, remote, whole=place.record.whole, dry_run=dry_run)


def _line(done: Pushed, total: int) -> str:
    if done.status == "up to date":
        return f"{done.target}: already at {done.where} ({total} files compared, nothing uploaded)"
    sent = f"{done.files} of {total} files, {number(done.size, 'B')}"
    if done.status == "would push":
        return f"{done.target}: would go to {done.where} ({sent})"
    return f"{done.target}: pushed to {done.where} ({sent}; read back and compared)"
