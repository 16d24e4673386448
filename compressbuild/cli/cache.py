"""``cbuild cache stats|gc|verify``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from ..errors import UsageError
from ..project import Project
from ..store import Store
from ..words import DURATION, SIZE, Quantity, number
from .options import project_options

__all__ = ["command"]


@contextmanager
def _store(file: str, overrides: tuple[str, ...], cache_dir: str | None) -> Iterator[tuple[Store, Project | None]]:
    """The cache of a project, or the one named: that needs no Compressfile."""
    if cache_dir is not None and not Path(file).is_file():
        if not Path(cache_dir).is_dir():
            raise UsageError(f"there is no cache {cache_dir}")
        with Store(Path(cache_dir)) as store:
            yield store, None
        return
    project = Project(Path(file), overrides, cache=Path(cache_dir) if cache_dir else None)
    with project.store:
        yield project.store, project


@click.group("cache", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Statistics, clean-up and verification of the cache."""


@command.command("stats")
@project_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def stats(file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool) -> int:
    """Count what the cache holds."""
    from ..store.stats import measure

    with _store(file, overrides, cache_dir) as (store, _):
        found = measure(store)
        if as_json:
            click.echo(msgspec.json.encode(found).decode())
            return 0
        click.echo(f"{store.path}")
        click.echo(f"{found.objects} objects, {number(found.size, 'B')}")
        click.echo(f"{found.records} results ({found.evicted} evicted), standing for {found.saved:.1f} s of work")
        for kind, row in found.kinds.items():
            click.echo(f"  {kind}: {row.results} results, {number(row.size, 'B')}")
        if found.quarantined:
            click.echo(f"{found.quarantined} files in quarantine, {number(found.quarantine_size, 'B')}")
        if found.leftovers:
            click.echo(f"{found.leftovers} leftovers of interrupted work")
    return 0


@command.command("gc")
@project_options
@click.option("--max-size", metavar="SIZE", help="Evict the least recently used outputs beyond this (10GiB).")
@click.option("--max-age", metavar="AGE", help="Drop results not used for this long (30d).")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be removed, without removing it.")
def gc(
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    max_size: str | None,
    max_age: str | None,
    dry_run: bool,
) -> int:
    """Remove what no result needs, then by age and size. What the last build used goes last.

    Refuses while a build uses the cache.
    """
    from ..store.gc import collect

    limit = _parsed("--max-size", max_size, SIZE)
    age = _parsed("--max-age", max_age, DURATION)
    with _store(file, overrides, cache_dir) as (store, project):
        keep = {trace.key for trace in project.traces.all().values()} if project is not None else set()
        report = collect(
            store, max_size=int(limit) if limit is not None else None, max_age=age, keep=keep, dry_run=dry_run
        )
        click.echo(
            f"{'would free' if dry_run else 'freed'} {number(report.freed, 'B')}: {report.objects} objects, "
            f"{report.dropped} old results, {report.evicted} outputs evicted, {report.leftovers} leftovers; "
            f"{number(report.size_after, 'B')} remain"
        )
        if report.damaged:
            click.echo(
                f"{report.damaged} results are damaged: the next build repairs them; so does 'cbuild cache verify'"
            )
    return 0


def _parsed(option: str, text: str | None, quantity: Quantity) -> float | None:
    if text is None:
        return None
    value = quantity.parse(text)
    if value is None:
        raise UsageError(f"{option}: '{text}' is not {quantity.expected}")
    return value


@command.command("verify")
@project_options
@click.option("--no-repair", is_flag=True, help="Report damage without repairing it.")
def verify(file: str, overrides: tuple[str, ...], cache_dir: str | None, no_repair: bool) -> int:
    """Hash every object again. Bad ones are quarantined, and the next build rebuilds them. Exit 1 if any was found."""
    from ..store.fsck import verify as fsck

    with _store(file, overrides, cache_dir) as (store, _):
        report = fsck(store, repair=not no_repair)
        for finding in report.findings:
            click.echo(f"{finding.kind}: {finding.name}: {finding.detail}")
        click.echo(f"{report.objects} objects ({number(report.size, 'B')}) and {report.records} results are sound")
    return 0 if report.clean else 1
