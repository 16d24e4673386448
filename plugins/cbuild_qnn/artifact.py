"""The kind ``qnn-context``: ``model.onnx``, whose EPContext operators name the context binaries beside it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NAME", "contexts", "validate"]

NAME = "model.onnx"
_OPERATOR = "EPContext"


def contexts(directory: Path) -> tuple[list[str], dict[str, int]]:
    """(names of the context binaries, operator type → how many are left to the CPU)."""
    import onnx

    files: list[str] = []
    others: dict[str, int] = {}
    for node in onnx.load(str(directory / NAME), load_external_data=False).graph.node:
        if node.op_type == _OPERATOR:
            files += [each.s.decode() for each in node.attribute if each.name == "ep_cache_context" and each.s]
        else:
            others[node.op_type] = others.get(node.op_type, 0) + 1
    return files, dict(sorted(others.items()))


def validate(directory: Path) -> None:
    """ValueError unless the model names context binaries, and they are there."""
    from google.protobuf.message import DecodeError

    try:
        files, _ = contexts(directory)
    except DecodeError as error:
        raise ValueError(f"{NAME} is not an ONNX model, or it is cut off") from error
    if not files:
        raise ValueError(f"{NAME} has no {_OPERATOR}")
    for name in files:
        path = directory / name
        if Path(name).name != name or not path.is_file() or not path.stat().st_size:
            raise ValueError(f"{NAME} names the context binary '{name}', which is not beside it")
