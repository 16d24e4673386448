"""``cbuild sbom``: the bill of materials of a published artifact."""

from __future__ import annotations

import os

import click

from ..build.sbom import bill
from ..errors import CbuildError, UsageError
from ..words import suggest
from . import completion
from .options import opened, project_options, written

__all__ = ["command"]


@click.command("sbom", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", shell_complete=completion.target)
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    shell_complete=completion.files,
    help="Write to FILE (default: standard output).",
)
@project_options
def command(target: str, output: str, file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Write the bill of materials of a published target: CycloneDX 1.6 JSON with a model card (ML-BOM).

    It names the published files, the steps that led to them, datasets, code, libraries, and what was measured.
    """
    with opened(file, overrides, cache_dir) as project:
        if target not in project.graph.targets:
            hint = suggest(target, project.graph.targets, otherwise="see 'cbuild list'")
            raise UsageError(f"unknown target '{target}'", hint=hint)
        directory = project.publisher.path(target)
        if not os.path.lexists(directory):
            raise CbuildError(f"{target} is not published", hint=f"build it with: cbuild {target}")
        units = {name: metric.unit for name, metric in project.graph.metrics.items()}
        written(bill(directory, target, units).decode(), output, aside=True)
    return 0
