"""``cbuild list``: what there is to build."""

from __future__ import annotations

import click
import msgspec

from ..compressfile.names import TAG
from ..project import undeclared
from ..report.text.columns import columns
from .options import opened, project_options

__all__ = ["command"]


@click.command("list", context_settings={"help_option_names": ["-h", "--help"]})
@project_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object a target.")
def command(file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool) -> int:
    """List targets and groups: where each comes from, its steps, platform, and whether it is published."""
    with opened(file, overrides, cache_dir) as project:
        rows = []
        for name, target in project.spec.targets.items():
            plan = project.graph.targets[name]
            missing = "; ".join(dict.fromkeys(m.what for m in plan.missing))
            rows.append(
                {
                    "target": name,
                    "description": target.description,
                    "tags": target.tags,
                    "from": target.source,
                    "steps": [step.technique for step in target.steps],
                    "platform": target.platform,
                    "gates": [gate.metric for gate in target.gates],
                    "published": (project.published / name).is_dir(),
                    "missing": missing or None,
                }
            )
        if as_json:
            for row in rows:
                click.echo(msgspec.json.encode(row).decode())
            return 0
        shown = []
        for row in rows:
            mark = "-" if row["missing"] else "*" if row["published"] else " "
            target = project.spec.targets[str(row["target"])]
            steps = [target.source, *(step.technique for step in target.steps)]
            chain = " → ".join([*steps, *([f"[{target.platform}]"] if target.platform else [])])
            note = f"  (needs {row['missing']})" if row["missing"] else ""
            about = f"  # {' '.join(target.description.split())}" if target.description else ""
            tagged = "".join(f"  {TAG}{tag}" for tag in target.tags)
            shown.append((f"{mark} {row['target']}", f"{chain}{note}{tagged}{about}"))
        shown += [(f"  {name}", f"group: {', '.join(members)}") for name, members in project.spec.groups.items()]
        for line in columns(shown):
            click.echo(line)
        click.echo("* published, - cannot be built on this machine")
        if gone := undeclared(project):
            click.echo(f"published, but no longer declared: {', '.join(gone)} ('cbuild clean' removes them)")
    return 0
