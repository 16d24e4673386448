"""The file in which discovery remembers what is installed and what was offered: a cache, never missed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from ..digest import bytes_digest, read_regular, seal, unseal
from .asked import Asked
from .installed import Installed, scan
from .trial import Tried

__all__ = ["Remembered", "read", "tool_versions", "write"]

_MAGIC = b"compressbuild-installed-6"


class Remembered(msgspec.Struct, frozen=True):
    """The content of the file. ``offers``: plugin → what (``technique`` …) → names, when it last worked. ``asked``: the
    records, if every plugin was sound. ``tried``: by ``module:attribute``, whether a manifest can be asked at all.
    ``stamp``: the digest of the file, which changes whenever any of it does."""

    installed: Installed
    offers: dict[str, dict[str, tuple[str, ...]]] = {}
    asked: Asked | None = None
    tried: dict[str, Tried] = {}
    stamp: str = ""


def read(path: Path | None) -> Remembered | None:
    """What was remembered, current or not; None if there is nothing readable."""
    if path is None:
        return None
    try:
        body = unseal(_MAGIC, read_regular(path))
        if body is None:
            return None
        return replace(msgspec.msgpack.decode(body, type=Remembered), stamp=bytes_digest(body))
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # a cache: without it the same answer takes longer


def write(path: Path, remembered: Remembered) -> None:
    """Replace the file in one rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    # A read-only project is no error: the next command asks importlib.metadata again.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(seal(_MAGIC, msgspec.msgpack.encode(remembered)))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def tool_versions(names: Iterable[str], cache: Path | None = None) -> dict[str, str | None]:
    """Versions of installed distributions, from ``cache`` (the file that ``discover`` writes) if it is current."""
    known = read(cache)
    return (known.installed if known and known.installed.current() else scan()).tool_versions(names)
