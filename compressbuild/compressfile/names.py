"""What things may be called, and the words that are taken."""

from __future__ import annotations

import re

__all__ = ["COMMANDS", "IDENTIFIER", "MAX_NAME", "NAME", "SANDBOXES", "TAG", "is_glob"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Models, datasets, platforms, targets, groups. A directory under ``build/`` is called so: no slash, no leading dot."""

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""Variables and matrix axes: no dots, because a dot in ``${a.b}`` reaches into a mapping."""

MAX_NAME = 200  # most file systems hold 255 bytes in a name; a build adds suffixes

SANDBOXES = ("auto", "bubblewrap", "landlock", "none")
"""What ``sandbox`` may say."""

COMMANDS = (
    "advise",
    "affected",
    "all",
    "build",
    "cache",
    "clean",
    "compare",
    "doctor",
    "env",
    "graph",
    "help",
    "history",
    "init",
    "list",
    "lock",
    "mcp",
    "platforms",
    "plugins",
    "profile",
    "push",
    "recipes",
    "report",
    "sbom",
    "schema",
    "show",
    "sign",
    "skill",
    "tune",
    "verify",
    "version",
    "watch",
    "why",
)
"""First words of the command line that are not targets; no model, target or group may be called so."""


TAG = "tag:"
"""What a word that selects by a tag begins with; no name holds a colon."""


def is_glob(word: str) -> bool:
    """Whether ``word`` is a pattern (names never hold these characters)."""
    return any(character in word for character in "*?[")
