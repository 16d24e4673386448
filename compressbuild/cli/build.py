"""``cbuild TARGET…``: plan, run, judge, publish, report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import Incompatible, UsageError
from ..project import connected
from ..report.text.plan import plan_lines
from . import completion
from .options import MOVED, closing, found, locked, opened, project_options, written

if TYPE_CHECKING:
    from ..build.outcome import BuildReport
    from ..execute.events import Observer
    from ..project import Project
    from ..report.ci.ended import Ended

__all__ = ["command"]

_SHOWN = 5
"""Differences from the lock that a build shows."""


@click.command("build", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…", shell_complete=completion.targets)
@project_options
@click.option("-n", "--dry-run", is_flag=True, help="Show what would run, without running it.")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="CPU slots (default: this machine's cores)."
)
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, build whatever does not depend on it.")
@click.option("--check", is_flag=True, help="Rebuild what is cached, and compare the bytes.")
@click.option("--remeasure", is_flag=True, help="Measure times again.")
@click.option("--json", "as_json", is_flag=True, help="Print events (or with -n the plan) as JSON lines.")
@click.option(
    "--trace",
    "--profile",
    "trace",
    metavar="FILE",
    shell_complete=completion.files,
    help="Write a Chrome trace of the build.",
)
@click.option(
    "--junit", metavar="FILE", shell_complete=completion.files, help="Write the targets as JUnit XML, for CI."
)
@click.option("--locked", "must_match", is_flag=True, help="Refuse software that is not in Compressfile.lock.")
@click.option("-v", "--verbose", is_flag=True, help="Also name cached nodes, and why each node runs.")
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    dry_run: bool,
    jobs: int | None,
    keep_going: bool,
    check: bool,
    remeasure: bool,
    as_json: bool,
    trace: str | None,
    junit: str | None,
    must_match: bool,
    verbose: bool,
) -> int:
    """Build targets: names, groups, globs ('sweep-*'), or 'all'."""
    moved = click.get_current_context().meta.get(MOVED, False)
    told = "GITHUB_STEP_SUMMARY" in os.environ  # each build adds to it
    plain = not (dry_run or check or remeasure or as_json or trace or junit or verbose or moved or told)
    if plain:
        status = _part(file, overrides, cache_dir, must_match=must_match, jobs=jobs, keep_going=keep_going)
        if status is not None:
            return status
    with ExitStack() as stack:
        with _mistyped(targets, file):
            project = stack.enter_context(opened(file, overrides, cache_dir))
            selection = project.select(targets)
        differing = _differing(project, selection.names, must_match=must_match)
        if dry_run:
            connected(project)
            if junit:
                raise UsageError("--junit is about a build, and -n builds nothing", hint="leave one out")
            plan = project.plan(selection.names, remeasure=remeasure)
            for line in plan_lines(plan, selection, as_json=as_json, verbose=verbose):
                click.echo(line)
            return 0
        if not selection.names:
            for name, reason in selection.skipped.items():
                click.echo(f"skipped {name}: {reason}", err=as_json)
            raise Incompatible(
                "none of these targets can be built on this machine",
                hint=selection.install or "'cbuild doctor' shows what this machine lacks",
            )
        from ..build.run import build_targets  # what executes, which a plan does without
        from ..report.ci.ended import Ended

        ended = Ended()
        with _observers(as_json=as_json, verbose=verbose, trace=trace) as observers:
            observers.append(ended)
            report = build_targets(
                project,
                selection=selection,
                observers=observers,
                jobs=jobs,
                keep_going=keep_going,
                check=check,
                remeasure=remeasure,
            )

        def remember(text: str) -> OSError | None:
            from ..build.state.kept import write

            return write(project, sys.argv[1:], report, text)

        if junit:
            from ..report.ci.junit import junit as junit_text

            written(junit_text(report, ended, project.graph, project.root.name), junit, aside=True)
        _tell_github(project, report, ended)
        if as_json:
            return report.exit_code
        return _conclude(project, report, remember if plain and not differing and not project.spec.hosts else None)


def _part(
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    *,
    must_match: bool,
    jobs: int | None,
    keep_going: bool,
) -> int | None:
    """Build what a change since the last build can reach; the exit status. None: the whole is to be built."""
    from ..build.state.part import find

    part = find(Path(file), overrides, Path(cache_dir) if cache_dir else None, sys.argv[1:])
    if part is None:
        return None
    found(file)
    with closing(part.project) as project:
        differing = _differing(project, part.selection.names, must_match=must_match)
        from ..build.run import build_targets

        with _observers(as_json=False, verbose=False, trace=None) as observers:
            report = build_targets(
                project, selection=part.selection, observers=observers, jobs=jobs, keep_going=keep_going
            )

        def remember(text: str) -> OSError | None:
            return part.write(sys.argv[1:], report, text)

        return _conclude(project, part.whole(report), None if differing else remember)


@contextmanager
def _mistyped(words: tuple[str, ...], file: str) -> Iterator[None]:
    """Where the first word is no target, it may be a command with a slip: ``shwo``, ``bulid``."""
    try:
        yield
    except UsageError as error:
        from ..words import did_you_mean
        from .main import COMMANDS

        word, command = words[0], did_you_mean(words[0], COMMANDS)
        unknown = str(error) == f"unknown target '{word}'" or not os.path.exists(file)
        nearer = error.hint is not None and error.hint.startswith("did you mean")
        if command is None or not unknown or nearer:
            raise
        said = f"unknown command '{word}'" if not os.path.exists(file) else f"unknown target or command '{word}'"
        raise UsageError(said, hint=f"did you mean 'cbuild {command}'?") from None


def _differing(project: Project, targets: tuple[str, ...], *, must_match: bool) -> bool:
    """Say how the installed software differs from the locked, if it does. Raises Incompatible if it must not."""
    found = locked(project, targets)
    name = project.lock.name
    if must_match and found is None:
        raise Incompatible(f"--locked, but there is no {name}", hint="'cbuild lock' writes it")
    if not found:
        return False
    if must_match:
        raise Incompatible(
            f"the installed software differs from {name}: {'; '.join(found)}",
            hint="install what is locked, or accept what is installed with 'cbuild lock'",
        )
    for line in found[:_SHOWN]:
        click.echo(f"warning: {name}: {line}", err=True)
    if len(found) > _SHOWN:
        click.echo(f"warning: {name}: {len(found) - _SHOWN} more differ; see 'cbuild lock --check'", err=True)
    return True


@contextmanager
def _observers(*, as_json: bool, verbose: bool, trace: str | None) -> Iterator[list[Observer]]:
    """Whoever watches the build: the console or JSON lines, and the trace."""
    from ..report.data.trace import ChromeTrace
    from ..report.text.progress import JsonProgress, LiveProgress, PlainProgress

    found: list[Observer] = []
    with ExitStack() as stack:
        if as_json:
            found.append(JsonProgress(sys.stdout))
        elif _terminal():
            found.append(stack.enter_context(LiveProgress(verbose=verbose)))
        else:
            found.append(PlainProgress(sys.stdout, verbose=verbose))
        if trace is not None:
            found.append(stack.enter_context(ChromeTrace(Path(trace))))
        yield found


def _terminal() -> bool:
    """Whether escapes do something where the output goes."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def _tell_github(project: Project, report: BuildReport, ended: Ended) -> None:
    """Annotations and the job's summary, where GitHub runs this."""
    from ..report.ci import github

    if not github.running(project.environ):
        return
    for line in github.annotated(report, ended, project.graph, project.environ):
        click.echo(line, err=True)
    if summary := project.environ.get(github.SUMMARY):
        text = github.job_summary(report, ended, project.graph, project.root.name)
        try:
            with open(summary, "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            click.echo(f"warning: the job summary {summary} cannot be written: {error.strerror}", err=True)


def _conclude(project: Project, report: BuildReport, remember: Callable[[str], OSError | None] | None) -> int:
    """Print what the build came to. ``remember``: keeps what a no-op is to print."""
    from ..report.text.table import summary, target_table

    ran = report.counts.get("built", 0) + report.counts.get("failed", 0)
    changed = ran or any(r.status not in ("up to date", "skipped") for r in report.targets)
    text = summary(report)
    if changed:
        click.echo(target_table(report, _terminal()))
    click.echo(text, nl=False)
    unsaved = project.save()
    if report.exit_code == 0 and remember is not None:
        unsaved = remember(summary(report, again=True)) or unsaved
    if unsaved is not None:
        why = f"{unsaved.filename or project.state}: {unsaved.strerror}"
        click.echo(f"warning: what was learnt is not kept, so the next build is slower: {why}", err=True)
    return report.exit_code
