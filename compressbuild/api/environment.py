"""A Python environment of a plugin's own, for tools whose requirements contradict those of others."""

from __future__ import annotations

import msgspec

from .record import RecordMeta

__all__ = ["Environment"]


class Environment(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """What the engine makes once, from a lock file, and runs the plugin's workers in.

    ``name``: what the Compressfile and ``cbuild env`` call it. ``requirements``: the lock, ``package:path/of/file``,
    a file of the plugin's package; every line pins a version with its hashes, and one pins msgspec, which each worker
    imports. ``python``: versions that it works with, 3.11 or later: ``>=3.11,<3.13``.
    """

    name: str
    requirements: str
    python: str = ">=3.11"
