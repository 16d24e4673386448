"""What lies at a destination, read back and compared with the provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO

from blake3 import blake3

from ..api import Content, Parcel, ParcelFile, UserError

__all__ = ["compare", "read", "same"]

_CHUNK = 1 << 20


def same(content: Content, files: Iterable[ParcelFile]) -> frozenset[str]:
    """Names of the files that lie there with the right bytes."""
    present = set(content.names())
    return frozenset(file.name for file in files if file.name in present and _difference(content, file) is None)


def compare(content: Content, parcel: Parcel) -> None:
    """Read every byte back. UserError names the first file that differs, is missing, or should not be there."""
    present, expected = set(content.names()), {file.name for file in parcel.files}
    for verb, names in (("lost", expected - present), ("also holds", present - expected)):
        if names:
            raise UserError(f"the destination {verb} {min(names)}", hint="push again; if it persists, test its storage")
    for file in parcel.files:
        difference = _difference(content, file)
        if difference is not None:
            raise UserError(
                f"{file.name} came back {difference}",
                hint="the transfer or the destination damaged it, or the build changed meanwhile; push again",
            )


def _difference(content: Content, file: ParcelFile) -> str | None:
    """How the bytes that lie there differ from the file's; None if they do not."""
    sha, blake, size = hashlib.sha256(), blake3(), 0
    with content.open(file.name) as stream:
        for data in iter(lambda: stream.read(_CHUNK), b""):
            sha.update(data)
            blake.update(data)
            size += len(data)
    if size != file.size:
        return f"with {size} bytes, not {file.size}"
    return None if (sha.hexdigest(), blake.hexdigest()) == (file.sha256, file.blake3) else "with other bytes"


def read(content: Content, name: str, limit: int) -> bytes:
    """A small file's bytes, cut at ``limit``."""
    stream: BinaryIO
    with content.open(name) as stream:
        return stream.read(limit)
