"""A quantized model's files: what was packed, and beside it all other weights as their source has them, bit for bit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from compressbuild.api import UserError

from ..model.checkpoint import Checkpoint, copy_beside
from .params import QuantizeLlm

__all__ = ["checked", "format_config", "read_packed", "write_quantized"]


def read_packed(packed: Path, layers: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What auto-round saved as compressed-tensors: the tensors of its packed layers, and its configuration.

    UserError if it packed other layers than ``layers``.
    """
    made: dict[str, Any] = {}
    folder = next(packed.rglob("config.json")).parent  # it makes a directory of its own
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            made |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    return checked(made, said, layers)


def checked(
    made: Mapping[str, Any], said: Mapping[str, Any], layers: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of ``made``, the tensors of packed layers; and ``said``, in an order that does not change.

    UserError if it packed other layers than ``layers``.
    """
    done = {name.removesuffix(".weight_packed") for name in made if name.endswith(".weight_packed")}
    if done != set(layers):
        wrong = sorted(done ^ set(layers))[0]
        what = "left out" if wrong in layers else "quantized"
        raise UserError(
            f"the layer '{wrong}' was {what} by auto-round, against what was asked",
            hint="it packs plain linear layers only, and those of a mixture's experts: take 'format: gptq' or 'awq'",
        )
    tensors = {name: value for name, value in made.items() if name.rpartition(".")[0] in done and name[-5:] != ".bias"}
    return tensors, {**said, "ignore": sorted(said.get("ignore", ()))}


def format_config(module: nn.Module, bits: Mapping[str, int], params: QuantizeLlm) -> dict[str, Any]:
    """``quantization_config`` of a GPTQ or AWQ checkpoint. ``bits``: name → bits of each packed layer."""
    stay = sorted(name for name, each in module.named_modules() if isinstance(each, nn.Linear) and name not in bits)
    usual = min(bits.values())
    common = {"bits": usual, "group_size": params.group_size, "quant_method": params.format}
    if params.format == "awq":  # its files always have zero points
        return {**common, "modules_to_not_convert": stay, "version": "gemm", "zero_point": True}
    head = {name for name in stay if name.rpartition(".")[2] == "lm_head"}
    other = {f"-:^{re.escape(name)}$": {} for name in stay if name not in head}
    other |= {f"+:^{re.escape(name)}$": {"bits": count} for name, count in sorted(bits.items()) if count != usual}
    return {
        **common,
        "checkpoint_format": "gptq",
        "desc_act": False,
        "lm_head": False,
        "sym": params.symmetric,
        **({"dynamic": other} if other else {}),
    }


def write_quantized(
    source: Path,
    found: Checkpoint,
    made: Mapping[str, Any],
    config: Mapping[str, Any],
    scaled: Mapping[str, Any],
    out: Path,
) -> list[str]:
    """Fill ``out``. Returns the names of the weights of ``source`` that are not packed.

    ``made``: the tensors of the packed layers. ``config``: how they are packed, for ``config.json``. ``scaled``: other
    values of weights that are not packed, stored in the type that they had.
    """
    done = {name.rpartition(".")[0] for name in made}
    tensors = dict(made)
    single = [name for name in found.tensors if name.removesuffix(".weight") not in done]
    for file in sorted({found.tensors[name].file for name in single}):
        with safe_open(source / file, "pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in single if found.tensors[name].file == file}
    tensors |= {name: value.detach().to(tensors[name].dtype) for name, value in scaled.items()}
    copy_beside(source, out)
    whole = {**found.config, "quantization_config": dict(config)}
    (out / "config.json").write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    save_file(ordered, out / "model.safetensors", metadata={"format": "pt"})
    return single
