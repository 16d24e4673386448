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
from ..api.records import Backend, Kind, Source, Technique
from ..api.stack import Stack
from ..environment import Environments
from ..platforms import Facts, check, probe, unavailable
from ..registry import Plugin, Registry
from ..scaffold import KINDS, write
from .options import environments_here, offered

__all__ = ["command"]


@click.group("plugins", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON object a plugin.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int:
    """List the installed plugins: distribution, version, what each offers, and why something is unusable here."""
    if ctx.invoked_subcommand is not None:
        return 0
    registry = offered()
    here = _Here(probe(), environments_here(registry))
    for plugin in registry.plugins:
        row = _row(registry, plugin, here)
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


class _Here(msgspec.Struct, frozen=True):
    """This machine, and the environments that steps run in."""

    facts: Facts
    environments: Environments

    def lacking(self, verb: str, stack: Stack, *needs: Needs) -> str | None:
        """``verb`` with what is missing for software and ``needs``; None: nothing. How to get it says cbuild doctor."""
        found = [lack for each in (stack.needs, *needs) for lack in check(each, self.facts)]
        missing = [replace(lack, hint="") for lack in (*found, *self.environments.lacks(stack.environment))]
        return unavailable(verb, missing) if missing else None

    def of(self, record: Kind | Source | Technique | Destination | Executor, verb: str = "unavailable") -> str | None:
        return self.lacking(verb, record.stack, record.needs)


def _row(registry: Registry, plugin: Plugin, here: _Here) -> dict[str, Any]:
    offers = {
        "techniques": {name: here.of(registry.techniques[name]) for name in plugin.techniques},
        "backends": {name: _backend(registry.backends[name], here) for name in plugin.backends},
        "metrics": dict.fromkeys(plugin.metrics),
        "platforms": dict.fromkeys(plugin.platforms),
        "sources": {name: here.of(registry.sources[name]) for name in plugin.sources},
        "destinations": {
            name: here.of(registry.destinations[name], "cannot be pushed to") for name in plugin.destinations
        },
        "executors": {name: here.of(registry.executors[name]) for name in plugin.executors},
        "checks": dict.fromkeys(plugin.checks),
        "kinds": {name: here.of(registry.kinds[name], "cannot be run") for name in plugin.kinds},
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


def _backend(record: Backend, here: _Here) -> str | None:
    """Why it cannot compile here; else why it cannot run what it compiles."""
    return here.lacking("cannot compile here", record.stack, record.compile_needs) or here.lacking(
        "compiles here, cannot run here", record.stack, record.run_needs
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
