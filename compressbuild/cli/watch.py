"""``cbuild watch TARGET…``: build, and build again whenever something changes that the targets depend on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

import click

from .. import interrupts
from ..errors import CbuildError
from ..noop import signature
from . import completion
from .options import opened, project_options

__all__ = ["command"]

_SETTLED = 0.2
"""Seconds without a change, after which what changed is built: editors write in several steps."""

Seen = Mapping[str, tuple[int, int, int, int]]


@click.command("watch", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…", shell_complete=completion.targets)
@project_options
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="CPU slots, as for a build.")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, build whatever does not depend on it.")
@click.option(
    "--interval", type=click.FloatRange(min=0.05), default=0.5, show_default=True, metavar="SECONDS",
    help="How often to look.",
)  # fmt: skip
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    jobs: int | None,
    keep_going: bool,
    interval: float,
) -> int:
    """Build targets, then again whenever a file changes that they depend on. Ctrl-C ends it (status 130)."""
    words = ["-f", file, *(word for each in overrides for word in ("--set", each))]
    words += ["--cache-dir", cache_dir] if cache_dir else []
    words += (["-j", str(jobs)] if jobs else []) + (["-k"] if keep_going else [])
    place = (file, overrides, cache_dir)
    seen = _look(place, targets)
    while True:
        _build([*words, "--", *targets])
        click.echo(f"watching {len(seen)} files; Ctrl-C ends")
        sys.stdout.flush()
        changed = _wait(seen, interval)
        click.echo(f"changed: {os.path.relpath(changed)}")
        sys.stdout.flush()
        try:
            seen = _look(place, targets)
        except CbuildError:  # the build says what is wrong; until it is right, what was watched is
            seen = {path: signature(path) for path in seen}


def _look(place: tuple[str, tuple[str, ...], str | None], targets: tuple[str, ...]) -> Seen:
    """Everything that the targets depend on, as it is before they are built: what changes meanwhile is seen."""
    from ..build.state.rows import inputs

    with opened(*place) as project:
        names = project.select(targets).names
        return {path: signature(path) for path in inputs(project, names)}


def _build(words: list[str]) -> None:
    """A process of its own, as code that this one has imported may have changed. It ends before this one does."""
    command = [sys.executable, "-m", "compressbuild", "build", *words]
    child: subprocess.Popen[bytes] | None = None
    try:
        with interrupts.Held():  # a signal between the fork and the assignment would leave the build alone
            child = subprocess.Popen(command, process_group=0)
        child.wait()
    except KeyboardInterrupt:
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGINT)
            child.wait()
        raise


def _wait(seen: Seen, interval: float) -> str:
    """The path of something that changed, once nothing changes any more."""
    while (changed := _differing(seen)) is None:
        time.sleep(interval)
    while True:
        before = {path: signature(path) for path in seen}
        time.sleep(_SETTLED)
        if _differing(before) is None:
            return changed


def _differing(seen: Seen) -> str | None:
    return next((path for path, known in seen.items() if signature(path) != known), None)
