"""The kinds ``tflite`` and ``ethos-u-model``: one flatbuffer with the file identifier ``TFL3``, and ``interface.json``
(:mod:`cbuild_kit.interface`) if compressbuild made it. Without it the flatbuffer's own names and types count."""

from __future__ import annotations

import shutil
from pathlib import Path

from cbuild_kit.interface import Interface

from compressbuild.api import UserError

__all__ = ["COMMANDS", "INTERFACE", "NAME", "copy", "read_interface", "tflite_file", "validate", "validate_compiled"]

NAME = "model.tflite"
INTERFACE = "interface.json"
COMMANDS = "ethos-u"
"""The operator that holds what an Ethos-U runs."""
_IDENTIFIER = b"TFL3"  # bytes 4 to 8 of the flatbuffer


def tflite_file(directory: Path) -> Path:
    """The model of an artifact: ``model.tflite``, or the only ``.tflite`` file there."""
    named = directory / NAME
    if named.is_file():
        return named
    found = sorted(directory.glob("*.tflite"))
    if len(found) != 1:
        raise UserError(f"the artifact has {len(found)} .tflite files, one is needed", hint=f"name it {NAME}")
    return found[0]


def read_interface(directory: Path) -> Interface | None:
    """What ``interface.json`` says; None for a model that came without one."""
    return Interface.read(directory) if (directory / INTERFACE).is_file() else None


def copy(model: Path, out: Path) -> Path:
    """An artifact's model under its usual name in ``out``, with its interface. Returns the file."""
    shutil.copyfile(tflite_file(model), out / NAME)
    if (model / INTERFACE).is_file():
        shutil.copyfile(model / INTERFACE, out / INTERFACE)
    return out / NAME


def validate(directory: Path) -> None:
    """ValueError unless the file is of the format, and its tables can be followed."""
    path = _identified(directory)
    from .flatbuffer import check  # here: it imports the schema

    check(path)


def validate_compiled(directory: Path) -> None:
    """ValueError unless the file is of the format, and names the operator of an Ethos-U."""
    path = _identified(directory)
    if COMMANDS.encode() not in path.read_bytes():
        raise ValueError(f"{path.name} holds nothing for an Ethos-U")


def _identified(directory: Path) -> Path:
    try:
        path = tflite_file(directory)
    except UserError as error:
        raise ValueError(str(error)) from error
    with path.open("rb") as file:
        if file.read(8)[4:] != _IDENTIFIER:
            raise ValueError(f"{path.name} is not a LiteRT (TensorFlow Lite) model")
    read_interface(directory)
    return path
