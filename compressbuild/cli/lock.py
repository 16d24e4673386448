"""``cbuild lock``: pin the software that targets are built with."""

from __future__ import annotations

import click

from ..errors import CompressfileError, Incompatible
from .options import locked, opened, project_options, written

__all__ = ["command"]


@click.command("lock", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--check", is_flag=True, help="Write nothing; exit 4 if what is installed is not what is locked.")
@project_options
def command(check: bool, file: str, overrides: tuple[str, ...], cache_dir: str | None) -> int:
    """Write Compressfile.lock: versions of Python and every library, and digests of the plugins' code, for all targets.

    From then on a build says what differs from it, and with --locked it does not start.
    """
    from ..plan.lock import Lock

    with opened(file, overrides, cache_dir) as project:
        if check:
            found = locked(project, project.graph.targets)
            if found is None:
                raise Incompatible(f"there is no {project.lock.name}", hint="'cbuild lock' writes it")
            for line in found:
                click.echo(line)
            click.echo(f"{len(found)} differ" if found else f"as in {project.lock.name}")
            return Incompatible.exit_code if found else 0
        now = Lock.of(project.graph.nodes, project.keyer)
        if project.keyer.problems:
            raise CompressfileError(dict.fromkeys(project.keyer.problems), dict(project.spec.texts))
        written(now.encoded().decode(), str(project.lock), aside=False)
    return 0
