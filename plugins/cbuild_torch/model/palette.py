"""Tensors of few distinct values, stored as a palette and packed indices: lossless, and smaller on disk.

``palette`` in ``model.json`` names the parameters, their shapes and the axis along which each slice has values of its
own; ``weights.safetensors`` then has ``NAME:palette`` (slices × values, float) and ``NAME:indices`` (bytes, each index
in as many bits as the palette needs) for ``NAME``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["pack", "unpack"]

_MOST = 256


def pack(
    state: Mapping[str, Tensor], edits: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Tensor], list[Mapping[str, Any]]]:
    """The state with what the ``palette`` edits name packed, and the edits that say so.

    A tensor that has more than 256 values in a slice by now, because it was trained since, or would not get smaller, is
    stored as it is.
    """
    packed = dict(state)
    others = [edit for edit in edits if edit["op"] != "palette"]
    wanted = {name: entry for edit in edits if edit["op"] == "palette" for name, entry in edit["parameters"].items()}
    found: dict[str, Any] = {}
    for name, entry in sorted(wanted.items()):
        tensor = state.get(name)
        slices = None if tensor is None or tensor.dtype != torch.float32 else _slices(tensor, bool(entry["channels"]))
        values = None if slices is None else [np.unique(row) for row in slices]
        if slices is None or values is None or max(map(len, values)) > _MOST:
            continue
        width = max(map(len, values))
        bits = max(1, (width - 1).bit_length())
        if slices.size * bits / 8 + 4 * len(slices) * width >= slices.nbytes:
            continue
        palette = np.stack([np.pad(each, (0, width - len(each)), mode="edge") for each in values])
        indices = np.concatenate([np.searchsorted(each, row) for each, row in zip(values, slices, strict=True)])
        del packed[name]
        packed[f"{name}:palette"] = torch.from_numpy(palette)
        packed[f"{name}:indices"] = torch.from_numpy(_pack_bits(indices.astype(np.uint8), bits))
        found[name] = {"channels": bool(entry["channels"]), "shape": list(tensor.shape), "bits": bits}
    return packed, [*others, {"op": "palette", "parameters": found}] if found else others


def unpack(state: Mapping[str, Tensor], edits: Iterable[Mapping[str, Any]]) -> dict[str, Tensor]:
    """The state with plain tensors again. ValueError if it does not hold what the edits say."""
    plain = dict(state)
    for name, entry in ((n, e) for edit in edits if edit["op"] == "palette" for n, e in edit["parameters"].items()):
        try:
            palette, packed = plain.pop(f"{name}:palette").numpy(), plain.pop(f"{name}:indices").numpy()
            shape = tuple(entry["shape"])
            indices = _unpack_bits(packed, int(entry["bits"]), int(np.prod(shape))).reshape(len(palette), -1)
            values = np.take_along_axis(palette, indices.astype(np.int64), axis=1)
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"the palette of '{name}' is damaged: {error!r}") from error
        plain[name] = torch.from_numpy(values.reshape(shape).copy())
    return plain


def _slices(tensor: Tensor, channels: bool) -> np.ndarray:
    array = tensor.detach().numpy()
    rows: np.ndarray = array.reshape(len(array), -1) if channels else array.reshape(1, -1)
    return rows + np.float32(0)  # −0 and 0 are one value


def _pack_bits(indices: np.ndarray, bits: int) -> np.ndarray:
    return np.packbits(np.unpackbits(indices[:, None], axis=1)[:, 8 - bits :].reshape(-1))


def _unpack_bits(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    if len(packed) != -(-count * bits // 8):
        raise ValueError(f"{len(packed)} bytes for {count} indices of {bits} bits")
    rows = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(rows, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]
