"""Run ``quantize.llm``, and read what it wrote bit by bit, as the formats are documented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tiny_llms
from cbuild_llm.model.token_ids import TokenIds
from cbuild_llm.quantize.params import QuantizeLlm
from safetensors.torch import load_file

from compressbuild.api.conformance import artifact
from compressbuild.api.testing import NodeRun, run_node
from compressbuild.api.work import WorkInput

__all__ = ["SIZES", "Quantize", "dequantized", "quantize", "token_ids", "unpacked"]

Quantize = Callable[..., NodeRun]
SIZES = {"hidden_size": 64, "intermediate_size": 96}
AWQ_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)  # where in a word the neighbours 0 to 7 lie, as AutoAWQ's gemm has it


def token_ids(place: Path, start: int) -> WorkInput:
    """256 ids of the text that the tokenizer was not made of, in windows of 32."""
    place.mkdir()
    ids = tiny_llms.tokenizer()(tiny_llms.TEXT[start : start + 2000])["input_ids"][:256]
    TokenIds(np.array(ids, np.int32), 32, 32, 320).write(place)
    return artifact(place, "token-ids")


def quantize(model: Path, place: Path, **params: Any) -> NodeRun:
    """``place``: a directory that is made."""
    place.mkdir()
    world: dict[str, Any] = {}
    if "tokens" in params:
        world = {"inputs": {"tokens": token_ids(place / "ids", 60_000)}, "references": {"ids": "tokens"}}
    typed = msgspec.convert(params, QuantizeLlm)
    return run_node("cbuild_llm.quantize.rounding:quantize", artifact(model, "hf-model"), typed, place / "out", **world)


def unpacked(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer → integers and scales, both of the shape of the weight, of compressed-tensors; read bit by bit, as the
    format is documented: integers of b bits from the lowest bits of an int32 on, with 2^(b-1) added."""
    tensors = load_file(folder / "model.safetensors")
    found = {}
    for name, packed in tensors.items():
        if not name.endswith(".weight_packed"):
            continue
        layer = name.removesuffix(".weight_packed")
        rows, columns = tensors[f"{layer}.weight_shape"].tolist()
        words = packed.numpy().view(np.uint32)
        bits = 32 * words.shape[1] // columns
        integers = np.empty((rows, columns), np.int64)
        for column in range(columns):
            word, place = divmod(column, 32 // bits)
            integers[:, column] = (words[:, word] >> (place * bits) & (2**bits - 1)).astype(np.int64) - 2 ** (bits - 1)
        scale = tensors[f"{layer}.weight_scale"].float().numpy().astype(np.float64)
        wide = columns // scale.shape[1]
        found[layer] = (integers, scale.repeat(wide, axis=1))
    return found


def dequantized(folder: Path) -> dict[str, np.ndarray]:
    """Layer → weight N×K in float64, of a GPTQ or AWQ checkpoint, number by number."""
    said = json.loads((folder / "config.json").read_text())["quantization_config"]
    tensors = {name: value.numpy() for name, value in load_file(folder / "model.safetensors").items()}
    layers = [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]
    read = _of_awq if said["quant_method"] == "awq" else _of_gptq
    return {layer: read({part: tensors.get(f"{layer}.{part}") for part in PARTS}) for layer in layers}


PARTS = ("qweight", "qzeros", "scales", "g_idx")


def _of_gptq(parts: dict[str, Any]) -> np.ndarray:
    words, zeros, scales, index = (parts[part] for part in PARTS)
    rows, columns = scales.shape[1], len(index)
    bits = 32 * len(words) // columns
    weight = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            group = index[column]
            integer = _bits(words[column * bits // 32, row], column * bits % 32, bits)
            zero = _bits(zeros[group, row * bits // 32], row * bits % 32, bits) + 1
            weight[row, column] = (integer - zero) * float(scales[group, row])
    return weight


def _of_awq(parts: dict[str, Any]) -> np.ndarray:
    words, zeros, scales, _ = (parts[part] for part in PARTS)
    rows, columns = scales.shape[1], len(words)
    size = columns // len(scales)
    weight = np.empty((rows, columns))
    for row in range(rows):
        word, place = row // 8, AWQ_PLACES[row % 8] * 4
        for column in range(columns):
            integer = _bits(words[column, word], place, 4)
            zero = _bits(zeros[column // size, word], place, 4)
            weight[row, column] = (integer - zero) * float(scales[column // size, row])
    return weight


def _bits(word: Any, place: int, bits: int) -> int:
    return (int(word) % 2**32) // 2**place % 2**bits
