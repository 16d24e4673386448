"""``cbuild compare A B``: is B better than A, and is it faster?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from ..errors import UsageError
from ..evaluate.logs import compare_logs
from ..report.data.beside import Beside
from ..report.data.breakdowns import breakdowns
from ..report.data.comparing import compare_targets, operators_of, samples_of, side
from ..report.data.flipped import Shown
from ..report.text.beside import beside_lines
from ..report.text.comparison import comparison_lines
from . import completion
from .options import opened, project_options, written

__all__ = ["command"]


@click.command("compare", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("first", required=False, metavar="A", shell_complete=completion.target)
@click.argument("second", required=False, metavar="B", shell_complete=completion.target)
@project_options
@click.option("--from-logs", nargs=2, metavar="A.JSONL B.JSONL", help="Compare two logs of the same requests.")
@click.option("--measure", is_flag=True, help="Build both, and measure B alternately with A.")
@click.option("--operators", is_flag=True, help="Show the profiled operators of both side by side.")
@click.option("--samples", is_flag=True, help="Show what the samples are that flipped: pictures or text.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "html"]), default="text", show_default=True,
    help="Lines, one JSON object, or one HTML file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completion.files,
    help="Write there ('-': standard output). HTML: compare.html.",
)
def command(
    first: str | None,
    second: str | None,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    from_logs: tuple[str, str] | None,
    measure: bool,
    operators: bool,
    samples: bool,
    form: str,
    as_json: bool,
    output: str | None,
) -> int:
    """Compare two targets on the same samples, or with --from-logs two logs of one service: quality (McNemar's test,
    bootstrap), speed, every metric, and the samples whose answer flipped. TARGET@REF is a target as it was at a git
    revision."""
    form = "json" if as_json else form
    tables: list[dict[str, Any]] = []
    beside: Beside | str | None = None
    shown: Shown | str | None = None
    if from_logs is not None:
        if first is not None:
            raise UsageError("--from-logs compares two files; targets cannot be named as well")
        if operators or samples:
            option = "--operators" if operators else "--samples"
            raise UsageError(f"{option} is for two targets: logs have neither operators nor samples")
        found = compare_logs(Path(from_logs[0]), Path(from_logs[1]))
    else:
        if first is None or second is None:
            raise UsageError("name two targets: cbuild compare A B", hint="or two logs: --from-logs a.jsonl b.jsonl")
        with opened(file, overrides, cache_dir) as project, ExitStack() as stack:
            sides = [stack.enter_context(side(project, word, overrides)) for word in (first, second)]
            for note in (note for each in sides for note in each.notes):
                click.echo(f"note: {note}", err=True)
            compared = compare_targets(sides[0], sides[1], measure=measure)
            found = compared.found
            tables = list(breakdowns(compared.results[1], compared.results[0]))
            if operators or form == "html":
                beside = operators_of(sides[0], sides[1])
            if samples or form == "html":
                shown = samples_of(sides[1], found, run=samples)
    if form == "html":
        from ..report.page.pages import comparison_page

        text = comparison_page(found, tables, beside, shown)
    elif form == "json":
        more: dict[str, Any] = {"operators": beside} if operators else {}
        more |= {"samples": shown} if samples else {}
        text = msgspec.json.encode({"verdict": found.verdict, **msgspec.to_builtins(found), **more}).decode() + "\n"
    else:
        lines = [*comparison_lines(found, shown if samples else None)]
        if beside is not None:
            lines += ["", *beside_lines(found.first, found.second, beside)]
        text = "".join(f"{line}\n" for line in lines)
    written(text, output or ("compare.html" if form == "html" else "-"), aside=form != "html")
    return 0
