"""What compiled artifacts hold: ``model.onnx``, or ``model.ort``, a flatbuffer."""

from __future__ import annotations

from pathlib import Path

from compressbuild.api import UserError

__all__ = ["FLAT", "count_nodes", "onnx_file", "validate", "validate_flat"]

FLAT = "model.ort"
_IDENTIFIER = b"ORTM"  # bytes 4 to 8 of the flatbuffer


def onnx_file(directory: Path) -> Path:
    """The model of an artifact: ``model.onnx``, or the only ``.onnx`` file there."""
    named = directory / "model.onnx"
    if named.is_file():
        return named
    found = sorted(directory.glob("*.onnx"))
    if len(found) != 1:
        raise UserError(f"the artifact has {len(found)} .onnx files, one is needed", hint="name it model.onnx")
    return found[0]


def validate(directory: Path) -> None:
    """ValueError unless the artifact is an ONNX model with at least one node."""
    from google.protobuf.message import DecodeError

    try:
        count = count_nodes(directory / "model.onnx")
    except DecodeError as error:
        raise ValueError("model.onnx is not an ONNX model, or it is cut off") from error
    if count == 0:
        raise ValueError("model.onnx has no nodes")


def count_nodes(path: Path) -> int:
    import onnx

    return len(onnx.load(str(path), load_external_data=False).graph.node)


def validate_flat(directory: Path) -> None:
    """ValueError unless the file is of the format."""
    with (directory / FLAT).open("rb") as file:
        if file.read(8)[4:] != _IDENTIFIER:
            raise ValueError(f"{FLAT} is not an ONNX Runtime flatbuffer")
