"""``cbuild report``: what has been built, what it measures, what to ship."""

from __future__ import annotations

import click
import msgspec

from ..compressfile.select import select
from ..report.data.document import gather, timed
from ..report.picture import drawing
from . import completion
from .options import opened, project_options, written

__all__ = ["command"]


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@project_options
@click.option("--samples", is_flag=True, help="Show what the samples are that flipped: pictures or text.")
@click.option(
    "--format", "form", type=click.Choice(["html", "md", "json"]), default="html", show_default=True,
    help="One HTML file, a comment for a pull request, or the data.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completion.files,
    help="Write there ('-': standard output). HTML: report.html.",
)
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    samples: bool,
    form: str,
    output: str | None,
) -> int:
    """Report on targets (default: all) as they were last built: what to ship and why, quality, speed and size,
    metrics, gates, warnings, pipelines, logs, provenance, history. Builds nothing."""
    with opened(file, overrides, cache_dir) as project:
        names, _ = select(project.spec, targets or ("all",))
        document = gather(project, names, beside=samples or form != "md", samples=samples)
        if form == "html":
            from ..report.page.pages import page

            plan = project.plan(names)
            picture = timed(drawing.make(plan, with_metrics=False), plan, document)
            text = page(document, drawing.svg(picture))
        elif form == "md":
            from ..report.text.markdown import markdown

            text = markdown(document)
        else:
            text = msgspec.json.encode(document).decode() + "\n"
    written(text, output or ("report.html" if form == "html" else "-"), aside=form != "html")
    return 0
