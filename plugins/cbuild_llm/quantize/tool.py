"""auto-round, called on a module of transformers: what it packs itself, the integers that it chose, and its grid."""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import PARTS
from ..model.loading import load_tokenizer
from .params import QuantizeLlm

__all__ = ["Integers", "choose_integers", "grid", "packed_integers", "ranges", "save_packed", "standing_for"]

Integers = tuple[Tensor, Tensor, Tensor]
"""Of a layer of N outputs, K inputs, in groups of S: integers N×K from 0, scales and zero points N×K/S."""


def save_packed(
    ctx: Context,
    module: nn.Module,
    model: Path,
    bits: Mapping[str, int],
    windows: Sequence[Tensor],
    params: QuantizeLlm,
    out: Path,
) -> None:
    """Quantize ``module``, and save it as compressed-tensors. ``bits``: name → bits of each layer that is quantized."""
    with _tool(ctx, module, model, bits, windows, params) as tool:
        tool.quantize_and_save(str(out), format="llm_compressor")


def choose_integers(
    ctx: Context,
    module: nn.Module,
    model: Path,
    bits: Mapping[str, int],
    windows: Sequence[Tensor],
    params: QuantizeLlm,
) -> Iterator[tuple[str, Integers]]:
    """Quantize ``module``; name and integers of each layer. They stand exactly for the weights that it then has."""
    with _tool(ctx, module, model, bits, windows, params) as tool:
        made, _ = tool.quantize()
    for name, count in bits.items():
        layer: Any = made.get_submodule(name)
        if getattr(layer, "scale", None) is None:
            raise UserError(
                f"auto-round does not quantize '{name}', a {type(layer).__name__}",
                hint="leave such layers out with 'ignore'",
            )
        scales = layer.scale.reshape(len(layer.weight), -1).float()
        zeros = layer.zp if isinstance(layer.zp, Tensor) else torch.tensor(float(layer.zp))
        zeros = zeros.float().broadcast_to(scales.shape) if zeros.dim() < 2 else zeros.float().reshape(scales.shape)
        size = layer.weight.shape[1] // scales.shape[1]
        wide, points = scales.repeat_interleave(size, 1), zeros.repeat_interleave(size, 1)
        integers = (layer.weight.detach().float() / wide + points).round_().clamp_(0, 2**count - 1)
        yield name, (integers.to(torch.uint8), scales, zeros.to(torch.uint8))


def packed_integers(
    module: nn.Module, integers: Mapping[str, Integers], bits: Mapping[str, int], params: QuantizeLlm
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and configuration of compressed-tensors for ``integers``, packed in ``module`` as auto-round packs what
    its own methods chose."""
    from auto_round.export.export_to_llmcompressor.export import save_quantized_as_llmcompressor

    said = {"group_size": params.group_size, "sym": params.symmetric, "data_type": "int"}
    plain = {"act_bits": 16, "act_data_type": None}
    for name, made in integers.items():
        layer: Any = module.get_submodule(name)
        layer.weight.data = standing_for(made)
        layer.scale, layer.zp = made[1].half(), made[2].float()
        for field, value in {**said, **plain, "bits": bits[name]}.items():
            setattr(layer, field, value)
    packed: Any = save_quantized_as_llmcompressor(None, model=module)  # into no file
    tensors = {
        f"{name}.{part}": value.detach()
        for name in integers
        for part, value in packed.get_submodule(name).state_dict().items()
        if part in PARTS["compressed-tensors"]
    }
    return tensors, json.loads(json.dumps(packed.config.quantization_config))


def standing_for(made: Integers) -> Tensor:
    """The weight N×K in float32."""
    integers, scales, zeros = made
    size = integers.shape[1] // scales.shape[1]
    points = zeros.float().repeat_interleave(size, 1)
    return (integers.float() - points) * scales.repeat_interleave(size, 1)


def ranges(weight: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """The grid of one group N×S, as ``method: rtn`` takes it: scale and zero point of each row, N, in float32."""
    _, scale, zero = _rounding(symmetric)(weight.float(), bits, weight.shape[1])
    flat: Tensor = scale.float().reshape(-1)
    return flat, (zero.float() if isinstance(zero, Tensor) else torch.tensor(float(zero))).reshape(-1).expand_as(flat)


def grid(weight: Tensor, bits: int, params: QuantizeLlm) -> Tensor:
    """A weight N×K rounded to the nearest values that ``bits`` hold, as ``method: rtn`` rounds it."""
    rounded: Tensor = _rounding(params.symmetric)(weight, bits, params.group_size)[0]
    return rounded


def _rounding(symmetric: bool) -> Any:
    from auto_round.data_type.int import quant_tensor_asym, quant_tensor_sym

    return quant_tensor_sym if symmetric else quant_tensor_asym


_RAISES = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextmanager
def _tool(
    ctx: Context,
    module: nn.Module,
    model: Path,
    bits: Mapping[str, int],
    windows: Sequence[Tensor],
    params: QuantizeLlm,
) -> Iterator[Any]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # it must not look for anything elsewhere
    os.environ["AR_WORK_SPACE"] = str(ctx.scratch / "auto-round")  # else in the directory that it runs in
    from auto_round import AutoRound
    from auto_round.logger import logger
    from auto_round.schemes import QuantizationScheme

    logger.__class__ = logging.Logger  # NNCF, if it is here, has replaced it: its ``warning_once`` takes no arguments
    own = {"group_size": params.group_size, "sym": params.symmetric, "data_type": "int"}
    usual = min(bits.values())
    each = {
        name: {**own, "bits": bits[name], "act_bits": 16} if name in bits else {"bits": 16, "data_type": "float"}
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and bits.get(name) != usual
    }
    options: dict[str, Any] = {"iters": 0, "disable_opt_rtn": True, "disable_model_free": True}
    if params.method != "rtn":
        options = {"dataset": windows, "nsamples": len(windows), "seqlen": windows[0].shape[1]}
    if params.method == "auto-round":
        options["iters"] = params.iterations
    if params.method == "awq":
        from auto_round.algorithms.transforms.awq.config import AWQConfig

        options["alg_configs"] = [AWQConfig(awq_seqlen=0), "rtn"]  # 0: whole windows
    tool = AutoRound(
        module,
        tokenizer=load_tokenizer(model, "the hf-model"),
        scheme=QuantizationScheme.from_dict({**own, "bits": usual, "act_bits": 16}),
        layer_config=each,
        batch_size=min(8, len(windows)) or 1,
        device_map="cpu",
        seed=ctx.seed,
        enable_torch_compile=False,
        enable_deterministic_algorithms=True,
        amp=False,
        **options,
    )
    gc.freeze()  # it collects garbage for each layer, and need not search what was there before
    try:
        yield tool
    except _RAISES as error:
        if "allocate memory" in str(error):
            raise
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"auto-round cannot quantize a {type(module).__name__} by '{params.method}': {said}",
            hint="its code does not fit this model: take 'method: gptq' or 'method: rtn'",
        ) from error
    finally:
        gc.unfreeze()
