"""``cbuild plugins``: what is installed, what it offers, and what of that cannot be used here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from ..api.destination import Destination
from ..api.executor import Executor
from ..api.needs import Needs
from ..api.records import Kind, Source, Technique
from ..platforms import Facts, check, probe, unavailable
from ..registry import Plugin, Registry
from ..scaffold import KINDS, write
from .options import offered

__all__ = ["command"]


@click.group("plugins", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON object a plugin.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int:
    """List the installed plugins: distribution, version, what each offers, and why something is unusable here."""
    if ctx.invoked_subcommand is not None:
        return 0
    registry = offered()
    facts = probe()
    for plugin in registry.plugins:
        row = _row(registry, plugin, facts)
        click.echo(msgspec.json.encode(row).decode() if as_json else "\n".join(_lines(row)))
    return 0


@command.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="What the new plugin offers.")
@click.option("--into", type=click.Path(path_type=Path), help="Directory to write; by default cbuild-NAME.")
def new(name: str, kind: str, into: Path | None) -> int:
    """Write a plugin that works: a package with NAME, its contract test, a README and a CI file.

    NAME is what a Compressfile will call it: prune.rows.
    """
    directory = into or Path(f"cbuild-{name.replace('.', '-')}")
    for path in write(name, kind, directory):
        click.echo(f"{directory}/{path}")
    click.echo(f"next: cd {directory}; pip install -e '.[test]'; pytest")
    return 0


def _row(registry: Registry, plugin: Plugin, facts: Facts) -> dict[str, Any]:
    offers = {
        "techniques": {
            name: _lacking("unavailable", facts, *_needs(registry.techniques[name])) for name in plugin.techniques
        },
        "backends": {name: _backend(registry, name, facts) for name in plugin.backends},
        "metrics": dict.fromkeys(plugin.metrics),
        "platforms": dict.fromkeys(plugin.platforms),
        "sources": {name: _lacking("unavailable", facts, *_needs(registry.sources[name])) for name in plugin.sources},
        "destinations": {
            name: _lacking("cannot be pushed to", facts, *_needs(registry.destinations[name]))
            for name in plugin.destinations
        },
        "executors": {
            name: _lacking("unavailable", facts, *_needs(registry.executors[name])) for name in plugin.executors
        },
        "checks": dict.fromkeys(plugin.checks),
        "kinds": {name: _lacking("cannot be run", facts, *_needs(registry.kinds[name])) for name in plugin.kinds},
    }
    problems = [p for p in registry.problems if p.plugin == plugin.name]
    return {
        "plugin": plugin.name,
        "module": plugin.module,
        "distribution": plugin.distribution,
        "version": plugin.version,
        **offers,
        "problems": [{"message": p.message, "hint": p.hint} for p in problems],
        "warnings": list(plugin.warnings),
    }


def _needs(record: Kind | Source | Technique | Destination | Executor) -> tuple[Needs, Needs]:
    return record.stack.needs, record.needs


def _lacking(verb: str, facts: Facts, *needs: Needs) -> str | None:
    missing = [replace(lack, hint="") for each in needs for lack in check(each, facts)]  # how to get it: cbuild doctor
    return unavailable(verb, missing) if missing else None


def _backend(registry: Registry, name: str, facts: Facts) -> str | None:
    """Why it cannot compile here; else why it cannot run what it compiles."""
    record = registry.backends[name]
    stack = record.stack.needs
    return _lacking("cannot compile here", facts, stack, record.compile_needs) or _lacking(
        "compiles here, cannot run here", facts, stack, record.run_needs
    )


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    shipped = f"{row['distribution']} {row['version']}".strip() or "no distribution"
    yield f"{row['plugin']}  ({shipped}, {row['module']})"
    for what in (
        "techniques",
        "backends",
        "metrics",
        "kinds",
        "platforms",
        "sources",
        "destinations",
        "executors",
        "checks",
    ):
        offered: Mapping[str, str | None] = row[what]
        if offered:
            yield f"  {what:11} {', '.join(offered)}"
    for what in ("techniques", "backends", "kinds", "sources", "destinations", "executors"):
        for name, lacking in row[what].items():
            if lacking is not None:
                yield f"  ! {name} {lacking}"
    for problem in row["problems"]:
        yield f"  ! {problem['message']}"
        if problem["hint"]:
            yield f"    hint: {problem['hint']}"
    for warning in row["warnings"]:
        yield f"  warning: {warning}"
