"""The kind ``coreml-package``: ``model.mlpackage``, which holds ``Manifest.json``, ``model.mlmodel`` (a protocol
buffer: the program) and ``weights/weight.bin``. What Core ML drops (names of dynamic axes, wider types) is in the
program's metadata, under ``compressbuild``.

coremltools writes random identifiers, the date and a map for ExecuTorch into it; here two builds are equal.
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
from cbuild_kit.interface import Interface
from google.protobuf.message import DecodeError

__all__ = ["NAME", "narrowed", "operations", "read", "validate", "write"]

NAME = "model.mlpackage"
_PROGRAM = "Data/com.apple.CoreML/model.mlmodel"
_KEY = "compressbuild"
_DATE = "com.github.apple.coremltools.conversion_date"
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562: of URLs


def write(model: Any, interface: Interface, directory: Path, scratch: Path) -> None:
    """Write an ``MLModel`` as :data:`NAME` in ``directory``."""
    model.user_defined_metadata[_KEY] = interface.text()
    model.user_defined_metadata.pop(_DATE, None)
    made = scratch / NAME
    model.save(str(made))
    package = directory / NAME
    shutil.copytree(made / "Data", package / "Data")
    (package / _PROGRAM).write_bytes(model.get_spec().SerializeToString(deterministic=True))
    _write_manifest(json.loads((made / "Manifest.json").read_text(encoding="utf-8")), package)


def _write_manifest(manifest: dict[str, Any], package: Path) -> None:
    """With an identifier for each item that follows from its path, instead of a random one."""
    items = manifest["itemInfoEntries"]
    renamed = {key: str(uuid.uuid5(_NAMESPACE, item["path"])) for key, item in items.items()}
    manifest["itemInfoEntries"] = {renamed[key]: item for key, item in items.items()}
    manifest["rootModelIdentifier"] = renamed[manifest["rootModelIdentifier"]]
    text = json.dumps(manifest, indent=4, sort_keys=True)
    (package / "Manifest.json").write_text(text + "\n", encoding="utf-8")


def read(directory: Path) -> tuple[Any, Interface]:
    """The program's specification (without weights) and its interface. ValueError if it is damaged."""
    try:
        spec = coremltools.utils.load_spec(str(directory / NAME))
    except (DecodeError, RuntimeError, OSError) as error:
        raise ValueError(f"{NAME} cannot be read: {' '.join(str(error).split())[:300]}") from error
    noted = spec.description.metadata.userDefined
    if _KEY not in noted:
        raise ValueError(f"{NAME} does not describe its inputs and outputs: cbuild did not make it")
    return spec, Interface.parse(noted[_KEY])


def operations(spec: Any) -> list[str]:
    """Types of all operations of an ML program."""
    return [
        operation.type
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
    ]


def narrowed(dtype: Any) -> np.dtype[Any]:
    """The type that Core ML has for a numpy type: it knows no 64 bits, and only whole numbers of 32."""
    return np.dtype(np.float32 if np.dtype(dtype).kind == "f" else np.int32)


def validate(directory: Path) -> None:
    """ValueError unless the package is whole and has the interface that it states."""
    spec, interface = read(directory)
    if not operations(spec):
        raise ValueError(f"{NAME} holds no ML program")
    inputs = {item.name: _bounds(item) for item in spec.description.input}
    wanted = {
        item.name: [(axis, axis) if isinstance(axis, int) else interface.sizes[axis] for axis in item.shape]
        for item in interface.inputs
    }
    if inputs != wanted:
        raise ValueError(f"{NAME} takes {inputs}, not {wanted}")
    outputs = [item.name for item in spec.description.output]
    if outputs != list(interface.outputs):
        raise ValueError(f"{NAME} gives {', '.join(outputs)}, not {', '.join(interface.outputs)}")


def _bounds(feature: Any) -> list[tuple[int, int]]:
    """Least and largest size of each axis of an input."""
    array = feature.type.multiArrayType
    ranges = [(axis.lowerBound, axis.upperBound) for axis in array.shapeRange.sizeRanges]
    return ranges or [(size, size) for size in array.shape]
