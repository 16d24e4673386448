"""``cbuild env list|make|gc|verify``: the Python environments of plugins' own."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from ..errors import CbuildError, StoreError
from ..project import Project
from ..words import duration, number
from .options import opened, project_options

__all__ = ["command"]

_SHOWN = 10  # changed files of one environment that are named


@click.group("env", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, make, check and remove the Python environments that plugins declare for their tools."""


@command.command("list")
@project_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def list_(file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool) -> int:
    """List the environments of the installed plugins, and whether each is made."""
    with opened(file, overrides, cache_dir) as project:
        rows = {name: _row(project, name) for name in project.keyer.environments.names}
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return 0
    if not rows:
        click.echo("no installed plugin declares an environment")
    for name, row in rows.items():
        click.echo(f"{name}: {row['state']}")
        for label in ("for", "python", "lock", "distributions", "directory", "problem"):
            if row.get(label) is not None:
                click.echo(f"  {label:13}  {row[label]}")
    return 0


def _row(project: Project, name: str) -> dict[str, object]:
    environments = project.keyer.environments
    row: dict[str, object] = {"state": "unusable", "for": environments.owner(name)}
    try:
        wanted = environments.wanted(name)
    except CbuildError as error:
        return row | {"problem": "; ".join(found.message for found in error.diagnostics)}
    python = wanted.python
    return row | {
        "state": "made" if environments.is_made(name) else "not made",
        "python": f"{python.version} ({python.path})" if python is not None else f"no {wanted.pythons} was found",
        "lock": wanted.lock.path,
        "distributions": wanted.distributions,
        "directory": str(environments.directory(name)),
    }


@command.command("make")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@project_options
def make_(names: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Make environments that are not there, as a build does before it needs them. Default: those that steps of this
    Compressfile run in."""
    from ..environment.making import make

    with opened(file, overrides, cache_dir) as project:
        project.store.use()
        used = sorted({node.environment for node in project.graph.nodes if node.environment is not None})
        if not names and not used:
            click.echo("no step of this Compressfile runs in an environment of its own")
        for name in names or used:
            wanted = project.keyer.environments.wanted(name)
            seconds = make(wanted, project.keyer.environments.root, click.echo)
            took = f"made in {duration(seconds)}" if seconds is not None else "is there"
            click.echo(
                f"{name}: {took} ({wanted.distributions} distributions, {project.keyer.environments.directory(name)})"
            )
    return 0


@command.command("gc")
@project_options
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
def gc(file: str, overrides: tuple[str, ...], cache_dir: str | None, dry_run: bool) -> int:
    """Remove the environments that this Compressfile and the installed plugins do not ask for, and what killed
    processes left. Refuses while a build uses the cache."""
    from ..environment.keeping import kept, remove

    with opened(file, overrides, cache_dir) as project:
        lock = project.store.users.try_exclusive()
        if lock is None:
            raise StoreError("a build uses the cache", hint="wait until it has ended")
        with lock:
            environments = project.keyer.environments
            wanted = {environments.wanted(name).digest for name in environments.names}
            freed, failed = 0, False
            for found in kept(environments.root, wanted):
                if not dry_run and (error := remove(found)) is not None:
                    failed = True
                    where = error.filename or found.path
                    click.echo(f"cannot remove {found.path}: {where}: {error.strerror or error}", err=True)
                    continue
                freed += found.size
                what = found.name or "not whole"
                click.echo(
                    f"{'would remove' if dry_run else 'removed'} {found.path} ({what}, {number(found.size, 'B')})"
                )
            click.echo(f"{'would free' if dry_run else 'freed'} {number(freed, 'B')}")
    return 1 if failed else 0


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME…]")
@project_options
def verify(names: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Hash every file of the environments that are made (default: all). Exit 1 if one has changed since."""
    from ..environment.keeping import faults

    bad = False
    with opened(file, overrides, cache_dir) as project:
        for name in names or project.keyer.environments.names:
            place = project.keyer.environments.directory(name)
            found = faults(place, digests=True)
            if found is None:
                click.echo(f"{name}: not made")
                continue
            bad |= bool(found)
            click.echo(f"{name}: {_said(found)}")
            if found:
                click.echo(f"  remove it, and the next build makes it: rm -r {place}")
    return 1 if bad else 0


def _said(faults: Sequence[str]) -> str:
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return f"{len(faults)} differences: {', '.join(faults[:_SHOWN])}{more}" if faults else "sound"
