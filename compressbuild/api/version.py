"""The version of ``compressbuild.api``, and whether a plugin was built for it."""

from __future__ import annotations

__all__ = ["VERSION", "compare"]

VERSION = "1.0"
"""``major.minor``. A minor adds records, fields and hooks that an older engine can pass over. A major takes away what
its last minor had deprecated. A manifest says what it was built for: ``API_VERSION = "1.0"``."""


def compare(built_for: str) -> str:
    """``same`` (this minor or an earlier one), ``newer`` (a later minor) or ``other`` (another major).

    ValueError if it is no version.
    """
    major, minor = (int(part) for part in built_for.split("."))
    own_major, own_minor = (int(part) for part in VERSION.split("."))
    if major != own_major:
        return "other"
    return "newer" if minor > own_minor else "same"
