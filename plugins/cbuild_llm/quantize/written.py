"""A quantized model's files: what was packed, and beside it all other weights as their source has them, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from compressbuild.api import UserError

from ..model.checkpoint import Checkpoint, copy_beside

__all__ = ["write_quantized"]


def write_quantized(source: Path, found: Checkpoint, packed: Path, layers: Collection[str], out: Path) -> list[str]:
    """Fill ``out``. Returns the names of the weights of ``source`` that stay as they are.

    ``packed``: the directory that the quantizer wrote. ``layers``: names of the layers that it was to pack. UserError
    if it packed others.
    """
    made: dict[str, Any] = {}
    folder = next(packed.rglob("config.json")).parent  # it makes a directory of its own
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            made |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    done = {name.removesuffix(".weight_packed") for name in made if name.endswith(".weight_packed")}
    if done != set(layers):
        wrong = sorted(done ^ set(layers))[0]
        what = "left out" if wrong in layers else "quantized"
        raise UserError(f"the layer '{wrong}' was {what}, against what was asked")
    tensors = {name: value for name, value in made.items() if name.rpartition(".")[0] in done and name[-5:] != ".bias"}
    single = [name for name in found.tensors if name.removesuffix(".weight") not in done]
    for file in sorted({found.tensors[name].file for name in single}):
        with safe_open(source / file, "pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in single if found.tensors[name].file == file}
    copy_beside(source, out)
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    config = {**found.config, "quantization_config": {**said, "ignore": sorted(said.get("ignore", ()))}}
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    save_file(ordered, out / "model.safetensors", metadata={"format": "pt"})
    return single
