"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import place
from ..errors import CbuildError, UsageError
from ..interrupts import Held
from ..words import number
from . import completion

if TYPE_CHECKING:
    from ..environment import Environments
    from ..project import Project
    from ..registry import Registry

__all__ = [
    "MOVED",
    "closing",
    "directory_option",
    "environments_here",
    "found",
    "locked",
    "offered",
    "opened",
    "project_options",
    "written",
]

MOVED = "compressbuild.cli.moved"
"""Where a context keeps that a ``-C`` was read here, not before the no-op was asked."""

_FOUND = "compressbuild.cli.found"
"""Where a context keeps that the Compressfile was found in a directory above."""

F = TypeVar("F", bound=Callable[..., Any])


def directory_option(function: F) -> F:
    """``-C``: work in another directory. Eager: the paths of the other options are looked for there."""
    return click.option(
        "-C",
        "directories",
        multiple=True,
        is_eager=True,
        expose_value=False,
        callback=_enter,
        metavar="DIR",
        shell_complete=completion.directories,
        help="Work as if started in DIR.",
    )(function)


def _enter(ctx: click.Context, _: click.Parameter, directories: tuple[str, ...]) -> None:
    for directory in directories:
        ctx.meta[MOVED] = True
        try:
            os.chdir(directory)
        except OSError as error:
            raise UsageError(f"-C: cannot enter '{directory}': {error.strerror}") from None


def _located(ctx: click.Context, _: click.Parameter, file: str | None) -> str:
    """The Compressfile: as named, or here, or the nearest above."""
    if file is not None:
        return file
    if not os.path.lexists(place.NAME) and (prefix := place.above()):
        ctx.meta[_FOUND] = True
        return prefix + place.NAME
    return place.NAME


def project_options(function: F) -> F:
    """``-f``, ``-C``, ``--set`` and ``--cache-dir``: which Compressfile, with what changed, and where its cache is."""
    function = directory_option(function)
    for option in (
        click.option(
            "--cache-dir",
            metavar="DIR",
            shell_complete=completion.directories,
            help="The cache (default: $CBUILD_CACHE, or the Compressfile's).",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="PATH=VALUE",
            help="Change a value: --set vars.ratio=0.3 (repeatable).",
        ),
        click.option(
            "-f",
            "--file",
            callback=_located,
            metavar="FILE",
            shell_complete=completion.files,
            help="The Compressfile (default: the one here, or the nearest above).",
        ),
    ):
        function = option(function)
    return function


@contextmanager
def opened(file: str, overrides: tuple[str, ...], cache_dir: str | None) -> Iterator[Project]:
    """An open project, whose caches are saved on the way out."""
    from ..project import Project

    found(file)
    with closing(Project(Path(file), overrides, cache=Path(cache_dir) if cache_dir else None)) as project:
        yield project


def found(file: str) -> None:
    """Say which Compressfile is used, if it was found in a directory above."""
    if click.get_current_context().meta.get(_FOUND):
        click.echo(place.note(file), err=True, nl=False)


@contextmanager
def closing(project: Project) -> Iterator[Project]:
    """A project that is open already; its caches are saved on the way out, too."""
    try:
        yield project
    finally:
        with Held():
            project.close()


def locked(project: Project, targets: Iterable[str]) -> list[str] | None:
    """How the software that ``targets`` need differs from what is locked; None where nothing is locked."""
    if not os.path.lexists(project.lock):  # before the import: most projects have none
        return None
    from ..plan.lock import Lock

    lock = Lock.read(project.lock)
    graph = project.graph
    return list(lock.differences(Lock.of([graph.nodes[i] for i in sorted(graph.needed(targets))], project.keyer)))


def offered() -> Registry:
    """What the installed plugins offer; remembered if a project was ever opened in this directory."""
    from ..project import STATE_DIR
    from ..registry import discover

    state = Path(STATE_DIR)
    return discover(cache=state / "plugins" if state.is_dir() else None)


def environments_here(registry: Registry) -> Environments:
    """Those of the project in this directory; without one that can be read, those of the plugins, none of them made."""
    from ..environment import Environments
    from ..project import Project

    of_plugins = Environments(None, registry, Path(os.devnull))
    try:
        return Project(Path(place.NAME)).keyer.environments if os.path.isfile(place.NAME) else of_plugins
    except CbuildError:  # every command that builds says what is wrong
        return of_plugins


def written(text: str, place: str, *, aside: bool) -> None:
    """Write what a command made to the file ``place``, and say so (``aside``: on standard error); '-': print it."""
    if place == "-":
        click.echo(text, nl=False)
        return
    from ..whole import write_whole  # here: most commands write no file

    try:
        write_whole(place, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror}") from error
    click.echo(f"wrote {place} ({number(len(text.encode()), 'B')})", err=aside)
