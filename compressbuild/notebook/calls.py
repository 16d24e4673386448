"""What a notebook calls."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from ..compressfile.excerpt import render
from ..errors import CbuildError
from ..project import Project, connected
from ..report.data.comparing import compare_targets, side
from .progress import watching
from .results import Compared, Planned, Reasons, Report, Targets

__all__ = ["build", "compare", "load", "plan", "why"]

File = str | os.PathLike[str]
Settings = Mapping[str, object]


def build(
    file: File = "Compressfile",
    targets: str | Iterable[str] = ("all",),
    *,
    set: Settings | None = None,
    cache: File | None = None,
    jobs: int | None = None,
    keep_going: bool = False,
    remeasure: bool = False,
    progress: bool | None = None,
) -> Report:
    """Build targets, as ``cbuild TARGET…`` does: names, groups, globs, tags or ``all``.

    ``set``: what ``--set`` changes, ``{"vars.ratio": 0.3}``. ``progress``: None shows it in a notebook only; True also
    elsewhere, as lines on standard error. Failed nodes and missed gates are in the report. An error of the file or of
    the call raises CbuildError.
    """
    from ..build.run import build_targets

    with _opened(file, set, cache) as project, watching(progress) as observers:
        report = build_targets(
            project, _words(targets), observers=observers, jobs=jobs, keep_going=keep_going, remeasure=remeasure
        )
        return Report(report, project.root)


def load(file: File = "Compressfile", *, set: Settings | None = None, cache: File | None = None) -> Targets:
    """Read a Compressfile: its targets, and whether each can be built here and is published. Runs nothing."""
    with _opened(file, set, cache) as project:
        return Targets.of(project)


def plan(
    file: File = "Compressfile",
    targets: str | Iterable[str] = ("all",),
    *,
    set: Settings | None = None,
    cache: File | None = None,
    remeasure: bool = False,
) -> Planned:
    """What a build would run, as ``cbuild -n`` says."""
    with _opened(file, set, cache) as project:
        selection = project.select(_words(targets))
        connected(project)
        return Planned.of(project.plan(selection.names, remeasure=remeasure), selection)


def why(file: File, target: str | Iterable[str], *, set: Settings | None = None, cache: File | None = None) -> Reasons:
    """For each node of a target, why it would run, or that it is cached."""
    with _opened(file, set, cache) as project:
        connected(project)
        return Reasons.of(project.plan(project.select(_words(target)).names))


def compare(
    file: File,
    first: str,
    second: str,
    *,
    measure: bool = False,
    set: Settings | None = None,
    cache: File | None = None,
) -> Compared:
    """Whether ``second`` is better than ``first``, and faster. ``TARGET@REF`` is a target of a git revision.
    ``measure``: build both, and measure them alternately."""
    with _opened(file, set, cache) as project, ExitStack() as stack:
        sides = [stack.enter_context(side(project, word, _overrides(set))) for word in (first, second)]
        return Compared(compare_targets(sides[0], sides[1], measure=measure).found)


@contextmanager
def _opened(file: File, settings: Settings | None, cache: File | None) -> Iterator[Project]:
    """An open project. A CbuildError shows in a notebook as the command line would print it, without a traceback."""
    try:
        project = Project(Path(file), _overrides(settings), cache=Path(cache) if cache is not None else None)
        try:
            yield project
        finally:
            project.close()
    except CbuildError as error:
        error.__dict__["_render_traceback_"] = render(error, getattr(error, "texts", {})).splitlines
        raise


def _overrides(settings: Settings | None) -> list[str]:
    return [f"{path}={msgspec.json.encode(value).decode()}" for path, value in (settings or {}).items()]


def _words(targets: str | Iterable[str]) -> tuple[str, ...]:
    return (targets,) if isinstance(targets, str) else tuple(targets)
