"""``cbuild advise``: what an expert would change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from . import completion
from .options import opened, project_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..api.advice import Advice, Seen
    from ..project import Project

__all__ = ["command"]


@click.command("advise", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@project_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option(
    "--measure",
    is_flag=True,
    help="Run the models of targets that lost too much after each step, and beside what they were made from: which "
    "step and which layer lost it. Also say what was never tried.",
)
@click.option("--apply", "apply", is_flag=True, help="Make the changes in the Compressfile; comments stay.")
def command(
    targets: tuple[str, ...],
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    as_json: bool,
    measure: bool,
    apply: bool,
) -> int:
    """Say what an expert would change in targets (default: all), by their parameters and last results: with the
    evidence, the lines to change and a reference. Builds nothing, unless --measure asks for it."""
    import msgspec

    from ..advise import advise, gather, patched
    from ..compressfile.replacing import replace_text
    from ..compressfile.select import select

    if apply and overrides:
        raise UsageError("--apply changes the file, which --set replaces", hint="leave one of them out")
    with opened(file, overrides, cache_dir) as project:
        names, _ = select(project.spec, targets or ("all",))
        seen = gather(project, [name for name in names if name in project.graph.targets], thorough=measure)
        seen, unmeasured = _beside_origin(project, seen, measure)
        found, failed = advise(seen, project.registry.checks, project.registry.owner)
        changes = patched(project, found)
        spec = project.spec
    unbuilt = [each.target for each in seen if not each.built]
    failed = (*unmeasured, *failed)
    for text in failed:
        click.echo(f"cbuild: error: {text}", err=True)
    if apply and changes.text is not None:
        replace_text(spec.path, changes.text, spec.text)
    code = 1 if failed else 0
    if as_json:
        rows = [_row(*each, apply) for each in zip(found, changes.diffs, changes.made, strict=True)]
        document = {
            "targets": [each.target for each in seen],
            "unbuilt": unbuilt,
            "advice": rows,
            "failed": list(failed),
        }
        click.echo(msgspec.json.encode(document).decode())
        return code
    for advice, diff in zip(found, changes.diffs, strict=True):
        _print(advice, diff)
    _summary(len(found), sum(changes.made), len(seen), unbuilt, apply)
    return code


def _beside_origin(project: Project, seen: Sequence[Seen], measure: bool) -> tuple[tuple[Seen, ...], tuple[str, ...]]:
    """The targets with what is known of those that lost too much, beside what they were made from and after each of
    their steps, and what could not be measured."""
    from msgspec.structs import replace

    from ..advise.between import between_steps
    from ..report.data.origins import known_origins, measure_origins
    from ..report.text.progress import PlainProgress

    lost = [each.target for each in seen if each.too_much]
    if not lost:
        return tuple(seen), ()
    failed: dict[str, str] = {}
    if measure:
        failed, refused = measure_origins(project, lost)
        for name, why in refused.items():
            click.echo(f"note: '{name}' cannot be compared with what it was made from: {why}", err=True)
    known = known_origins(project, lost)
    more = tuple(replace(each, details={**each.details, **known.get(each.target, {})}) for each in seen)
    observers = [PlainProgress(sys.stderr)] if measure else []
    more, unbuilt = between_steps(project, more, build=measure, observers=observers)
    return more, tuple(f"'{name}' could not be measured: {why}" for name, why in {**unbuilt, **failed}.items())


def _row(advice: Advice, diff: str, made: bool, apply: bool) -> dict[str, Any]:
    return {
        "check": advice.check,
        "target": advice.target,
        "what": advice.what,
        "evidence": list(advice.evidence),
        "where": str(advice.mark),
        "patch": diff or None,
        "applied": made and apply,
        "reference": advice.reference,
    }


def _print(advice: Advice, diff: str) -> None:
    click.echo(f"{advice.mark.file}:{advice.mark.line}: {advice.target}: {advice.what}  [{advice.check}]")
    for line in advice.evidence:
        click.echo(f"  evidence: {line}")
    for line in diff.splitlines():
        click.echo(f"  {line}")
    click.echo(f"  see: {advice.reference}\n")


def _summary(items: int, changes: int, looked: int, unbuilt: list[str], apply: bool) -> None:
    """One line, and one more where results are missing."""
    targets = f"{looked} target{'' if looked == 1 else 's'}"
    made = f"{changes} change{'' if changes == 1 else 's'}"
    said = f"{items} item{'' if items == 1 else 's'} of advice"
    if not items:
        click.echo(f"nothing to advise on {targets}")
    elif apply:
        click.echo(f"{said} on {targets}; {made} made")
    else:
        click.echo(f"{said} on {targets}" + (f"; '--apply' makes {made}" if changes else ""))
    if unbuilt:
        shown = ", ".join(unbuilt[:5]) + (f" and {len(unbuilt) - 5} more" if len(unbuilt) > 5 else "")
        click.echo(f"without results, so only their parameters were read: {shown}")
