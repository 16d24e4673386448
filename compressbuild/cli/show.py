"""``cbuild show TARGET``: everything about one target."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ..errors import UsageError
from ..evaluate.evidence import Evidence
from ..plan import Action
from ..report.text.target import evidence_lines, node_lines
from ..words import suggest
from . import completion
from .options import opened, project_options

__all__ = ["command"]


@click.command("show", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", shell_complete=completion.target)
@project_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(target: str, file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool) -> int:
    """Show a target: its nodes with parameters, state, time and size, then what was measured of it."""
    with opened(file, overrides, cache_dir) as project:
        if target not in project.graph.targets:
            hint = suggest(target, project.graph.targets, otherwise="see 'cbuild list'")
            raise UsageError(f"unknown target '{target}'", hint=hint)
        plan = project.plan([target])
        published = Evidence.read(project.publisher.path(target))
        if as_json:
            nodes = [_row(action) for action in plan.actions.values()]
            click.echo(msgspec.json.encode({"target": target, "nodes": nodes, "published": published}).decode())
            return 0
        asked = project.graph.targets[target]
        click.echo(
            f"{target}: from {asked.spec.source}" + (f", for {asked.spec.platform}" if asked.spec.platform else "")
        )
        if asked.spec.description:
            click.echo(f"  {' '.join(asked.spec.description.split())}")
        if asked.spec.tags:
            click.echo(f"  tags: {', '.join(asked.spec.tags)}")
        for missing in asked.missing:
            click.echo(f"  cannot be built here: {missing.what}")
        for line in node_lines(plan.actions.values()):
            click.echo(line)
        units = {name: metric.unit for name, metric in project.graph.metrics.items()}
        for line in evidence_lines(published, units) if published is not None else ():
            click.echo(line)
        if published is None:
            click.echo(f"  not published; build it with: cbuild {target}")
    return 0


def _row(action: Action) -> dict[str, Any]:
    result = action.result
    return {
        "node": action.node.position,
        "status": action.status,
        "kind": action.node.kind,
        "params": dict(action.node.params),
        "key": action.key,
        "output": result.output if result else None,
        "seconds": result.seconds if result else None,
        "size": result.size if result else None,
        "facts": dict(result.facts) if result else None,
    }
