"""Where a job stands in the queue, as ``squeue`` says it. ``sacct`` would need a database, which many clusters lack."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

__all__ = ["Place", "Silent", "cancel", "look"]

_PATIENCE = 10.0  # seconds for one command


class Silent(Exception):
    """Slurm does not answer. The message says why."""


@dataclass(frozen=True)
class Place:
    """``state``: PENDING, CONFIGURING, RUNNING …; ``reason``: why it waits, as Resources or Priority."""

    job: str
    state: str
    reason: str


def look(token: str, environment: dict[str, str]) -> Place | None:
    """Of the job with this comment, None if there is none. Raises Silent."""
    user = str(os.getuid())
    said = _run(["squeue", "--noheader", f"--user={user}", "--format=%i|%T|%r|%k"], environment)
    for line in said.splitlines():
        job, _, rest = line.strip().partition("|")
        if rest.endswith(f"|{token}"):
            state, _, reason = rest.removesuffix(f"|{token}").partition("|")
            return Place(job, state, reason)
    return None


def cancel(job: str, environment: dict[str, str]) -> None:
    """End a job. Raises Silent; one that has ended is no error."""
    _run(["scancel", "--quiet", job], environment)


def _run(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, env=environment,
            stdin=subprocess.DEVNULL, start_new_session=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise Silent(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Silent(f"{command[0]} has no answer after {_PATIENCE:.0f} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Silent(lines[-1].rpartition("error: ")[2] if lines else f"{command[0]} failed")
    return done.stdout
