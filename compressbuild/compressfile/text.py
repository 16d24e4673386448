"""Bytes → text."""

from __future__ import annotations

from ..errors import Mark
from .problems import Problems

__all__ = ["decode"]


def decode(data: bytes, file: str) -> str:
    """UTF-8 (a byte-order mark is skipped), or one located CompressfileError."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        problems = Problems({file: data.decode("utf-8-sig", errors="replace")})
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problems.add(
            f"byte 0x{data[error.start]:02x} is not valid UTF-8", Mark(file, line, column), "save the file as UTF-8"
        )
        raise problems.error() from error
