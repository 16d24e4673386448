"""What the shell offers for a word that is being typed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import CbuildError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..compressfile.spec import Spec

__all__ = ["FIRST", "beginning", "destinations", "directories", "files", "places", "target", "targets"]

FIRST = "compressbuild.cli.first"
"""Where a context keeps the commands that a first word may become."""


def beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that the word may become, each once."""
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def target(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Targets, for a command that takes one."""
    spec = _spec(ctx)
    return beginning(incomplete, spec.targets) if spec else []


def targets(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Targets, groups, ``all`` and tags; before the first word, commands as well."""
    spec = _spec(ctx)
    first = () if ctx.params.get("targets") else ctx.meta.get(FIRST, ())
    return beginning(incomplete, (*first, *((*spec.targets, *spec.groups, "all", *_tags(spec)) if spec else ())))


def _tags(spec: Spec) -> list[str]:
    from ..compressfile.select import tags

    return tags(spec)


def places(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Targets, or directories if none begins like this: ``verify`` takes either."""
    from click.shell_completion import CompletionItem

    found = targets(ctx, parameter, incomplete)
    return [*map(CompletionItem, found)] or directories(ctx, parameter, incomplete)


def destinations(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Targets and entries of ``publish``, or directories if none begins like this: ``push`` takes all three."""
    from click.shell_completion import CompletionItem

    spec = _spec(ctx)
    found = [*targets(ctx, parameter, incomplete), *beginning(incomplete, spec.publish if spec else ())]
    return [*map(CompletionItem, found)] or directories(ctx, parameter, incomplete)


def files(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, as the shell finds them."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def directories(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Directories, as the shell finds them."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def _spec(ctx: click.Context) -> Spec | None:
    """The Compressfile that the line names; None if it cannot be read: a shell offers nothing then, and is silent."""
    from ..project import Project

    try:
        return Project(Path(ctx.params.get("file") or "Compressfile")).spec
    except (CbuildError, OSError):
        return None
