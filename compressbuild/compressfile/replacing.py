"""Writing a changed Compressfile in the place of the old one: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import UsageError
from ..whole import aside
from .load import shown
from .text import decode

__all__ = ["replace", "replace_text"]

_MARK = b"\xef\xbb\xbf"  # of the byte order, which some editors write


def replace_text(path: Path, text: str, was: str) -> None:
    """Put ``text`` in the place of the text ``was``, as :func:`replace` does with bytes. A byte-order mark stays."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _changed(path) from error
    if decode(raw, shown(path)) != was:
        raise _changed(path)
    replace(path, (_MARK if raw.startswith(_MARK) else b"") + text.encode(), raw)


def replace(path: Path, data: bytes, was: bytes) -> None:
    """Put ``data`` in the place of a file, whose mode stays. A link stays, too: what it leads to is replaced.
    ``was``: what the file held when it was read. UsageError if it holds something else by now, which somebody saved
    meanwhile, or if it cannot be written; then the file is as it is."""
    place = Path(os.path.realpath(path))
    try:
        with aside(str(place), data) as temporary:
            shutil.copymode(place, temporary)
            if place.read_bytes() != was:
                raise _changed(path)
            os.replace(temporary, place)
    except OSError as error:
        raise UsageError(
            f"cannot write {shown(path)}: {error.strerror}",
            hint="it is as it was; make the file and its directory writable, then run the command again",
        ) from error


def _changed(path: Path) -> UsageError:
    return UsageError(
        f"{shown(path)} was changed while this command ran, so it is left as it is now",
        hint="run the command again: it reads what was saved",
    )
