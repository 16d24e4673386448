"""``cbuild platforms``: the catalogue of common hardware, and what this machine can do for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
import msgspec

from ..environment import Environments
from ..platforms import Facts, Missing, assess, probe
from ..registry import Registry
from .options import environments_here, offered

__all__ = ["command"]


@click.command("platforms", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON object a platform.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is missing, and how to get it.")
def command(as_json: bool, verbose: bool) -> int:
    """List the platforms that a Compressfile may use without declaring them ('platform: rtx-ada' in a target), or take
    over and change ('platforms: {mine: {like: rtx-ada, flags: [sparse-weights]}}')."""
    registry, facts = offered(), probe()
    environments = environments_here(registry)
    rows = [_row(registry, name, facts, environments) for name in registry.platforms]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
        return 0
    width = max((len(row["platform"]) for row in rows), default=0)
    for row in rows:
        _print(row, width, verbose)
    return 0


def _row(registry: Registry, name: str, facts: Facts, environments: Environments) -> dict[str, Any]:
    record = registry.platforms[name]
    backend = registry.backends[record.backend]
    ability = assess(record, backend, facts, *environments.lacks(backend.stack.environment))
    return {
        "platform": name,
        "backend": record.backend,
        "summary": record.summary,
        "settings": record.settings,
        "requires": record.requires,
        "build": not ability.build,
        "run": not ability.run,
        "missing": {"build": _told(ability.build), "run": _told(ability.run)},
    }


def _told(missing: tuple[Missing, ...]) -> list[dict[str, str]]:
    return [{"what": m.what, "hint": m.hint} for m in missing]


def _print(row: Mapping[str, Any], width: int, verbose: bool) -> None:
    verdict = {
        (True, True): "builds and runs here",
        (True, False): "builds here, runs elsewhere",
        (False, True): "runs here, is built elsewhere",
        (False, False): "not here",
    }[row["build"], row["run"]]
    settings = "".join(f", {key}: {_shown(value)}" for key, value in row["settings"].items())
    click.echo(f"{row['platform']:{width}}  {row['summary']}")
    click.echo(f"{'':{width}}    {verdict}; {{backend: {row['backend']}{settings}}}")
    if verbose:
        hints = []
        for what in ("build", "run"):
            lacking = row["missing"][what]
            if lacking:
                click.echo(f"{'':{width}}    to {what}, it needs {'; '.join(m['what'] for m in lacking)}")
                hints += [m["hint"] for m in lacking if m["hint"]]
        for hint in dict.fromkeys(hints):
            click.echo(f"{'':{width}}    hint: {hint}")


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
