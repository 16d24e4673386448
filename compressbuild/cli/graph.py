"""``cbuild graph``: a picture of the DAG."""

from __future__ import annotations

import click

from ..compressfile.select import select
from ..report.picture import drawing
from . import completion
from .options import opened, project_options, written

__all__ = ["command"]


@click.command("graph", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@project_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["svg", "dot", "mermaid"]),
    default="mermaid",
    show_default=True,
    help="Output format; Markdown viewers draw mermaid.",
)
@click.option(
    "-o", "--output", metavar="FILE", shell_complete=completion.files, help="Write there instead of to standard output."
)
@click.option("--metrics", is_flag=True, help="Draw the nodes that measure, too.")
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    form: str,
    output: str | None,
    metrics: bool,
) -> int:
    """Draw the nodes of targets (default: all) and how they depend on each other; cached nodes are marked."""
    with opened(file, overrides, cache_dir) as project:
        names, _ = select(project.spec, targets or ("all",))
        picture = drawing.make(project.plan(names), with_metrics=metrics)
        text = {"svg": drawing.svg, "dot": drawing.dot, "mermaid": drawing.mermaid}[form](picture)
    if output:
        written(text, output, aside=True)
    else:
        click.echo(text)
    return 0
