"""``cbuild profile TARGET``: where the time of a run goes, operator by operator."""

from __future__ import annotations

import sys

import click
import msgspec

from ..api import Profile
from ..errors import CbuildError, Incompatible, NodeFailed, UsageError
from ..evaluate.results import Results
from ..project import Project
from ..report.data.profiling import REPEATS, ask_profile, profile_of, unprofiled
from ..report.page.profile import profile_page
from ..report.text.profile import lines
from ..whole import write_whole
from ..words import suggest
from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("profile", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", shell_complete=completion.target)
@project_options
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples in a run (default: the batch of its latency, or 1).",
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=REPEATS, show_default=True, help="Number of runs to count."
)
@click.option(
    "-n", "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Rows in each table of the text."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=completion.files, help="Write there instead of to standard output."
)
def command(
    target: str,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    batch: int | None,
    repeats: int,
    rows: int,
    form: str,
    output: str | None,
) -> int:
    """Run a target under its runtime's profiler: the time of each operator. Builds the target first, if need be, and
    publishes nothing; nothing else runs meanwhile."""
    with opened(file, overrides, cache_dir) as project:
        found = _profile(project, target, batch, repeats)
    if form == "json":
        text = msgspec.json.encode({"target": target, **msgspec.to_builtins(found)}).decode() + "\n"
    elif form == "html":
        text = profile_page(target, found)
    else:
        text = "".join(f"{line}\n" for line in lines(target, found, rows))
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        write_whole(output, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
    return 0


def _profile(project: Project, name: str, batch: int | None, repeats: int) -> Profile:
    """Measured again on each call, as a metric of its own."""
    from ..build.run import build_targets
    from ..report.text.progress import PlainProgress

    if name not in project.spec.targets:
        hint = suggest(name, project.spec.targets, otherwise="see 'cbuild list'")
        raise UsageError(f"unknown target '{name}'", hint=hint)
    project.ask(ask_profile(project, name, batch=batch, repeats=repeats))
    selection = project.select((name,))
    (plan,) = project.graph.targets[name].asked
    if plan.node is None:
        raise Incompatible(unprofiled(name, plan.reason))
    observers = [PlainProgress(sys.stderr)]
    report = build_targets(project, selection=selection, observers=observers, remeasure=True, publish=False)
    (outcome,) = report.targets
    if outcome.status != "checked":
        raise NodeFailed(f"'{name}' could not be profiled: {outcome.reason}")
    try:
        return profile_of(Results.of_plan(project.store, project.plan((name,))).metric(plan))
    except msgspec.ValidationError as error:
        raise CbuildError(f"the profiler of '{name}' did not return a profile: {error}") from error
