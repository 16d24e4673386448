"""The kind ``executorch-program``: ``model.pte``, a flatbuffer whose file identifier begins with ``ET``, and
``interface.json`` (:mod:`cbuild_kit.interface`)."""

from __future__ import annotations

from pathlib import Path

from cbuild_kit.interface import Interface

__all__ = ["PROGRAM", "validate"]

PROGRAM = "model.pte"


def validate(directory: Path) -> None:
    """ValueError unless the program is whole, as far as its headers say."""
    Interface.read(directory)
    path = directory / PROGRAM
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:6] != b"ET":
        raise ValueError(f"{PROGRAM} is not an ExecuTorch program")
    if head[8:12] == b"eh00":  # the extended header: its own length, the program's size, where the segments begin
        program, segments = int.from_bytes(head[16:24], "little"), int.from_bytes(head[24:32], "little")
        data = int.from_bytes(head[32:40], "little") if int.from_bytes(head[12:16], "little") >= 32 else 0
        if size < max(program, segments + data):
            raise ValueError(f"{PROGRAM} is cut off: {size} bytes of {max(program, segments + data)}")
