"""``cbuild cache stats|gc|verify|push|pull``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from ..errors import StoreError, UsageError
from ..project import Project, connected
from ..remote.remote import Remote
from ..remote.settings import READ_ONLY
from ..signing import VARIABLE
from ..store import Store
from ..words import DURATION, SIZE, Quantity, number
from . import completion
from .options import opened, project_options

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
    """Statistics, clean-up and verification of the cache; what it shares with other machines."""


@command.command("stats")
@project_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def stats(file: str, overrides: tuple[str, ...], cache_dir: str | None, as_json: bool) -> int:
    """Count what the cache holds."""
    from ..environment.keeping import present
    from ..store.stats import measure

    with _store(file, overrides, cache_dir) as (store, _):
        found = measure(store)
        sizes = [each.size for each in present(Path(store.path) / "env")]
        if as_json:
            counted = {"environments": len(sizes), "environments_size": sum(sizes)}
            click.echo(msgspec.json.encode(msgspec.to_builtins(found) | counted).decode())
            return 0
        click.echo(f"{store.path}")
        click.echo(f"{found.objects} objects, {number(found.size, 'B')}")
        click.echo(f"{found.records} results ({found.evicted} evicted), standing for {found.saved:.1f} s of work")
        for kind, row in found.kinds.items():
            click.echo(f"  {kind}: {row.results} results, {number(row.size, 'B')}")
        if sizes:
            click.echo(f"{len(sizes)} environments, {number(sum(sizes), 'B')}")
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
@click.option("--remote", "remotely", is_flag=True, help="Clean the remote cache, by the age of its records.")
def gc(
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    max_size: str | None,
    max_age: str | None,
    dry_run: bool,
    remotely: bool,
) -> int:
    """Remove what no result needs, then by age and size. What the last build used goes last.

    Refuses while a build uses the cache.
    """
    from ..store.gc import collect

    limit = _parsed("--max-size", max_size, SIZE)
    age = _parsed("--max-age", max_age, DURATION)
    if remotely:
        return _gc_remote(file, overrides, cache_dir, int(limit) if limit is not None else None, age, dry_run=dry_run)
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


def _gc_remote(
    file: str, overrides: tuple[str, ...], cache_dir: str | None, limit: int | None, age: float | None, *, dry_run: bool
) -> int:
    from ..remote.sweep import sweep

    with opened(file, overrides, cache_dir) as project:
        remote = _remote(project, write=not dry_run)
        report = sweep(remote.objects, max_size=limit, max_age=age, dry_run=dry_run)
        click.echo(
            f"{'would free' if dry_run else 'freed'} {number(report.size_before - report.size_after, 'B')}: "
            f"{report.objects} objects, {report.dropped} old records, {report.unreadable} unreadable ones; "
            f"{number(report.size_after, 'B')} remain in {remote.settings.url}"
        )
    return 0


def _remote(project: Project, *, write: bool = False) -> Remote:
    """The remote cache of a project, connected. ``write``: it must take what this machine adds."""
    remote = connected(project)
    if remote is None:
        raise UsageError(
            "there is no remote cache", hint="write 'cache: {remote: s3://…, trust: [ci.pub]}', or set $CBUILD_REMOTE"
        )
    if write and remote.settings.read_only:
        raise UsageError(
            f"the remote cache {remote.settings.url} is read-only here",
            hint=f"name the key that signs with ${VARIABLE}; ${READ_ONLY} and 'read-only' must not be set",
        )
    if remote.health.down:
        raise StoreError(f"the remote cache {remote.settings.url} cannot be used: {remote.health.down}")
    return remote


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


@command.command("push")
@click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=completion.targets)
@project_options
def push(targets: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Add to the remote cache what the local one has of these targets (default: all)."""
    with opened(file, overrides, cache_dir) as project, project.store:
        remote = _remote(project, write=True)
        project.store.use()
        plan = project.plan(project.select(targets or ("all",)).names)
        here = (each.result for each in plan.actions.values() if each.result is not None and not each.evicted)
        remote.offer({result.key: result for result in here}.values())  # nodes may share a result
        left = remote.finish(_tick)
        writer = remote.writer
        there = f"{writer.kept} were there, in {remote.settings.url}"
        click.echo(f"{writer.sent} results sent ({number(writer.size, 'B')}), {there}")
        if left:
            raise StoreError(
                f"{left} results are not in the remote cache" + (f": {why}" if (why := remote.health.down) else ""),
                hint="run it again: what is there is not sent again",
            )
    return 0


@command.command("pull")
@click.argument("targets", nargs=-1, metavar="[TARGET]…", shell_complete=completion.targets)
@project_options
def pull(targets: tuple[str, ...], file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Bring what the remote cache has of these targets (default: all) here, for work without a network."""
    with opened(file, overrides, cache_dir) as project, project.store:
        remote = _remote(project)
        project.store.use()
        plan = project.plan(project.select(targets or ("all",)).names)
        there = (each.result for each in plan.actions.values() if each.result is not None and each.evicted)
        wanted = {result.key: result for result in there if not result.imported}  # an import has its file here
        came = sum(future.result() for future in [remote.fetch(result) for result in wanted.values()])
        lacking = len(plan.actions) - plan.count("cached")
        rest = f"{lacking} nodes are not in it" if lacking else "nothing is missing"
        click.echo(f"{came} outputs fetched from {remote.settings.url}" + ("" if remote.health.down else f"; {rest}"))
        if remote.health.down:
            raise StoreError(f"the remote cache cannot be used: {remote.health.down}")
    return 0


def _tick(done: int, total: int, size: int) -> None:
    click.echo(f"  {done} of {total} results, {number(size, 'B')} sent", err=True)
