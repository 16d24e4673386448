"""What Slurm says, and what to do about it."""

from __future__ import annotations

import re

__all__ = ["HOPELESS", "hint", "last_word"]

HOPELESS = {
    "BadConstraints": "no node has what it asks for; 'sinfo -o \"%N %c %m %G %f\"' lists what nodes have",
    "PartitionConfig": "the partition has no such node; 'sinfo -o \"%P %N %c %m %G\"' lists what it has",
    "PartitionTimeLimit": "ask for less 'time'; 'sinfo -o \"%P %l\"' lists the limits",
    "PartitionNodeLimit": "name another partition; 'sinfo -s' lists them",
    "InvalidAccount": "name an account that you may use; 'sacctmgr show associations user=$USER' lists them",
    "InvalidQOS": "name a quality of service that you may use; 'sacctmgr show qos' lists them",
    "JobHeldAdmin": "ask the administrator, who holds it",
}
"""Reasons for which a job stays in the queue whatever ends there, with the next step."""

_HINTS = (
    (r"invalid partition|partition name", "'sinfo -s' lists the partitions"),
    (
        r"node configuration is not available|can not be satisfied|more processors|node count",
        HOPELESS["BadConstraints"],
    ),
    (r"generic resource|gres", "'sinfo -o \"%N %G\"' lists the generic resources of nodes"),
    (r"feature", "'sinfo -o \"%N %f\"' lists the features of nodes"),
    (r"invalid node name|node name", "'sinfo -N' lists the nodes"),
    (r"due to time limit", "ask for more 'time'"),
    (r"time limit", HOPELESS["PartitionTimeLimit"]),
    (r"account", HOPELESS["InvalidAccount"]),
    (r"qos", HOPELESS["InvalidQOS"]),
    (
        r"munge|authentication|credential",
        "'munge -n | unmunge' tries munged, which must run here with the cluster's key",
    ),
    (r"contact slurm controller|connection refused|socket timed out", "'scontrol ping' says whether slurmctld answers"),
    (
        r"slurm\.conf|configuration file|configless",
        "'scontrol show config' must work here; $SLURM_CONF names the file",
    ),
    (r"no such file or directory", "'python' must be a Python on the node, as ?python=/opt/venv/bin/python"),
)
_OWN = re.compile(r"^(?:srun|slurmstepd)(?:-[^:]*)?: ")
_STATUS = re.compile(r": tasks? [\d,-]+: ")
_ENDED = re.compile(r"\*\*\* (?:JOB|STEP) \S+ .*(?:CANCELLED|FAILED|PREEMPT)[^*]*")


def hint(said: str) -> str | None:
    """The next step after this message."""
    return next((text for pattern, text in _HINTS if re.search(pattern, said, re.IGNORECASE)), None)


def last_word(said: str) -> str:
    """Why it ended, in one line, of the error output of ``srun`` and the program; empty if it says nothing.

    That Slurm ended it comes first; then what the program said last, after which ``srun`` adds the exit status; then
    what Slurm says of the job, whose last line is the reason, and of the program's exit status.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if found := _ENDED.search(line):
            return found[0].strip("* ")
    program = [line for line in lines if not _OWN.match(line)]
    if program:
        return program[-1]
    errors = [line for line in lines if "error: " in line]
    errors = [line for line in errors if not _STATUS.search(line)] or errors
    return re.sub(r"^.*?error: ", "", (errors or lines or [""])[-1])
