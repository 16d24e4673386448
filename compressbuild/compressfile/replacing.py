"""Writing a changed Compressfile in the place of the old one: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ..errors import UsageError
from .load import shown

__all__ = ["replace"]


def replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file, whose mode stays. A link stays, too: what it leads to is replaced.
    UsageError if it cannot be written; then the file is as it was."""
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{place.name}.{os.getpid():x}")
    try:
        try:
            temporary.write_bytes(data)
            shutil.copymode(place, temporary)
            os.replace(temporary, place)
        except BaseException:  # a signal, too, leaves nothing behind
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise UsageError(
            f"cannot write {shown(path)}: {error.strerror}",
            hint="it is as it was; make the file and its directory writable, then run the command again",
        ) from error
