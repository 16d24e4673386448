"""Linear layers of GPTQ and AWQ checkpoints: integers of 4 or 8 bits in int32 words, and what they stand for.

A layer of N outputs and K inputs, in groups of S inputs, with P = 32 / bits integers in a word, lowest bits first::

    GPTQ    qweight K/P×N, qzeros K/S×N/P, scales K/S×N float16, g_idx K: the group of each input
    AWQ     qweight K×N/P, qzeros K/S×N/P, scales K/S×N float16; of eight neighbours along N, those with even places
            come first in a word: 0, 2, 4, 6, 1, 3, 5, 7

A weight is (integer - zero point) · scale. GPTQ stores a zero point less one, so it has none for 0.

Frantar et al., "GPTQ", 2022, arXiv:2210.17323, as AutoGPTQ and GPTQModel store it (``checkpoint_format: gptq``); Lin et
al., "AWQ", 2023, arXiv:2306.00978, as AutoAWQ stores it (``version: gemm``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from compressbuild.api import UserError

__all__ = ["Form", "pack", "unpack"]

Form = Literal["gptq", "awq"]

_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def pack(form: Form, integers: Tensor, scales: Tensor, zeros: Tensor, bits: int, layer: str) -> dict[str, Tensor]:
    """Tensors of one layer, by the last part of their names.

    ``integers``: N×K, from 0 to 2^bits - 1. ``scales``, ``zeros``: N×K/S; zero points as the integers. UserError for a
    zero point of 0 in GPTQ, which would be read as 1. ``layer``: its name, for messages.
    """
    columns, stored = integers.t().int(), zeros.t().int()
    if form == "awq":
        return {
            "qweight": _words(_interleaved(columns), bits, 1),
            "qzeros": _words(_interleaved(stored), bits, 1),
            "scales": scales.t().half().contiguous(),
        }
    if not bool(stored.all()):
        raise UserError(
            f"'{layer}' has a group with the zero point 0, which a GPTQ checkpoint cannot hold: it stores zero "
            "points less one",
            hint="take 'symmetric: true', 'format: awq' or 'format: compressed-tensors'",
        )
    groups = stored.shape[0]
    return {
        "qweight": _words(columns, bits, 0),
        "qzeros": _words(stored - 1, bits, 1),
        "scales": scales.t().half().contiguous(),
        "g_idx": torch.arange(groups, dtype=torch.int32).repeat_interleave(len(columns) // groups),
    }


def unpack(form: Form, tensors: Mapping[str, Tensor]) -> Tensor:
    """The weight N×K in float32, of the tensors that :func:`pack` makes. ValueError where their shapes do not fit.

    The bits follow from the shapes: layers of one model may differ.
    """
    scales = tensors["scales"].float()
    bits = 32 * tensors["qzeros"].shape[1] // scales.shape[1]
    if bits not in (4, 8) or tensors["qzeros"].shape != (len(scales), bits * scales.shape[1] // 32):
        raise ValueError(f"{bits} bits")
    if form == "awq":
        integers = _ordered(_integers(tensors["qweight"], bits, 1))
        zeros = _ordered(_integers(tensors["qzeros"], bits, 1))
        group = torch.arange(len(scales)).repeat_interleave(len(integers) // len(scales))
    else:
        integers = _integers(tensors["qweight"], bits, 0)
        zeros = _integers(tensors["qzeros"], bits, 1) + 1
        group = tensors["g_idx"].long()
    return ((integers - zeros[group]) * scales[group]).t().contiguous()


def _words(integers: Tensor, bits: int, axis: int) -> Tensor:
    """Join neighbours along an axis in int32 words."""
    count = 32 // bits
    places = integers.unflatten(axis, (-1, count)).long()
    shifts = torch.arange(count).mul(bits).view(-1, *[1] * (places.dim() - axis - 2))
    words: Tensor = (places << shifts).sum(axis + 1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).int().contiguous()


def _integers(words: Tensor, bits: int, axis: int) -> Tensor:
    count = 32 // bits
    shifts = torch.arange(count).mul(bits).view(-1, *[1] * (words.dim() - axis - 1))
    places = (words.long().unsqueeze(axis + 1) >> shifts) & ((1 << bits) - 1)
    return places.flatten(axis, axis + 1)


def _interleaved(integers: Tensor) -> Tensor:
    return integers.unflatten(1, (-1, len(_ORDER)))[:, :, list(_ORDER)].flatten(1)


def _ordered(integers: Tensor) -> Tensor:
    back: list[Any] = [_ORDER.index(place) for place in range(len(_ORDER))]
    return integers.unflatten(1, (-1, len(_ORDER)))[:, :, back].flatten(1)
