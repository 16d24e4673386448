"""The technique ``quantize.llm``: the linear layers of a language model in integers.

By auto-round: to the nearest; after AWQ (Lin et al., 2023, arXiv:2306.00978); or with rounding and ranges tuned by
signed gradients (Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs",
2023, arXiv:2309.05516). By GPTQ here, on auto-round's grid.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cbuild_kit.fidelity import check_fidelity
from cbuild_torch.model.public import prepare
from torch import Tensor, nn

from compressbuild.api import Context, UserError

from ..model.checkpoint import Checkpoint, read_checkpoint, read_quantized
from ..model.linear import linear_layers
from ..model.loading import load_causal
from ..model.packed import Form, pack
from ..model.probing import probes, run, spread_windows
from ..model.quantized import load_quantized
from ..model.runner import LlmRunner
from ..model.stack import find_stack
from ..model.token_ids import read_token_ids
from .awq import check_smoothing
from .gptq import gptq_integers
from .mixed import fitted, within
from .params import QuantizeLlm
from .tool import choose_integers, packed_integers, save_packed
from .written import checked, format_config, read_packed, write_quantized

__all__ = ["quantize"]

_SHOWN = "the hf-model"
_TILE = 32
_EXACT = 1000  # signal over noise, 30 dB: norms may be written in 16 bits
_CAUSES = "too few bits or too large groups for this model: try 'bits: 8', a smaller 'group-size', 'method: auto-round'"


def quantize(ctx: Context, model: Path, params: QuantizeLlm) -> dict[str, Any]:
    """Write the model with packed linear layers. Embeddings and the head stay as they are, bit for bit, and so do norms
    and biases, except those into which AWQ moves scales.

    What was written is loaded in transformers and must still be its source: see ``cbuild_kit.fidelity``. Returns how it
    was quantized, the number of layers, the share of all weights that they hold, what of two or more axes stays in
    float, whether the head is the embedding, bytes of the weights before and after, and how far its logits are off;
    with a budget, what was chosen for each layer, and by which losses. UserError if the smallest choice is larger.
    """
    prepare(ctx)
    found = read_checkpoint(model, _SHOWN)
    module = load_causal(model, _SHOWN)
    config: Any = module.config
    names = _chosen(module, params)
    windows = _windows(ctx, params)
    tried = [window[:, :64] for window in windows[:4]] or probes(config, ctx.seed)
    bits, report = dict.fromkeys(names, params.bits), {}
    if params.budget is not None:
        bits, report = fitted(ctx, module, model, found, names, windows, params)
    if params.method == "awq":
        check_smoothing(module, tried)
    made = _packed(ctx, module, model, bits, windows, params, tried)
    del module
    single = write_quantized(model, found, made.tensors, made.config, made.scaled, ctx.out)
    answers = made.answers
    del made
    written = read_quantized(ctx.out, "the quantized model")
    if params.budget is not None:
        report |= within(ctx.out, params.budget)
    facts = check_fidelity(
        ctx,
        lambda: LlmRunner(load_causal(model, _SHOWN)),
        lambda: LlmRunner(_written(ctx.out, tried, answers)),
        [{"input_ids": ids.numpy(), "attention_mask": torch.ones_like(ids).numpy()} for ids in tried],
        what="quantize.llm",
        causes=_CAUSES,
    )
    quantized = sum(prod(found.tensors[f"{name}.weight"].shape) for name in bits)
    return {
        "method": params.method,
        "format": params.format,
        "symmetric": params.symmetric,
        **({"bits": params.bits} if params.budget is None else {}),
        "group_size": params.group_size,
        "layers": len(bits),
        "of_parameters": quantized / found.parameters,
        "in_float": [name for name in single if len(found.tensors[name].shape) > 1],
        "tied_head": bool(config.tie_word_embeddings),
        "bytes": _bytes(ctx.out, written),
        "bytes_before": _bytes(model, found),
        **report,
        **facts,
    }


class _Made(NamedTuple):
    """``tensors`` of the packed layers, what ``config.json`` says of them, the norms and biases that changed, and the
    logits of the model in memory that was packed; None where auto-round packed it."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    scaled: dict[str, Tensor]
    answers: list[Tensor] | None


def _packed(
    ctx: Context,
    module: nn.Module,
    model: Path,
    bits: dict[str, int],
    windows: list[Tensor],
    params: QuantizeLlm,
    tried: list[Tensor],
) -> _Made:
    if params.format == "compressed-tensors" and params.method in ("rtn", "auto-round"):
        place = ctx.scratch / "packed"
        save_packed(ctx, module, model, bits, windows, params, place)
        return _Made(*read_packed(place, bits), {}, None)
    vectors = {name: each.detach().clone() for name, each in module.named_parameters() if each.dim() == 1}
    if params.method == "gptq":
        integers = gptq_integers(ctx, module, bits, windows, params)
    else:
        integers = dict(choose_integers(ctx, module, model, bits, windows, params))
    now = {name: module.get_parameter(name).detach() for name in vectors}
    scaled = {name: value for name, value in now.items() if not torch.equal(value, vectors[name])}
    answers = run(module, tried)
    if params.format == "compressed-tensors":
        return _Made(*checked(*packed_integers(module, integers, bits, params), bits), scaled, answers)
    form: Form = params.format
    said = format_config(module, bits, params)
    made = {
        f"{name}.{part}": tensor
        for name, each in integers.items()
        for part, tensor in pack(form, *each, bits[name], name).items()
    }
    return _Made(made, said, scaled, answers)


def _written(out: Path, tried: list[Tensor], wanted: list[Tensor] | None) -> nn.Module:
    """The model that was written. UserError if it is not the one that was packed."""
    found = load_quantized(out, "the quantized model")
    if wanted is not None:
        signal = sum(float(each.double().square().sum()) for each in wanted)
        differ = zip(run(found, tried), wanted, strict=True)
        noise = sum(float((one - other).double().square().sum()) for one, other in differ)
        if not noise * _EXACT <= signal:
            raise UserError(
                "what was written is not the model that was quantized in memory: its logits differ",
                hint="the packing is at fault, not the model: take 'method: rtn' in compressed-tensors; report it",
            )
    return found


def _chosen(module: nn.Module, params: QuantizeLlm) -> list[str]:
    """Names of the linear layers of the decoder that are quantized. UserError if none is left, or one does not fit."""
    chosen = linear_layers(find_stack(module), params.ignore, "quantize")
    odd = next((name for name, each in chosen.items() if each.in_features % params.group_size), None)
    if odd is not None:
        raise UserError(
            f"'{odd}' has {chosen[odd].in_features} inputs, no multiple of the group size {params.group_size}",
            hint="choose a 'group-size' that divides it, or leave the layer out with 'ignore'",
        )
    odd = next((name for name, each in chosen.items() if any(size % _TILE for size in each.weight.shape)), None)
    if odd is not None:
        raise UserError(
            f"auto-round packs no layer of {' × '.join(map(str, chosen[odd].weight.shape))}, such as '{odd}': both "
            f"must be multiples of {_TILE}",
            hint="leave such layers out with 'ignore'",
        )
    return list(chosen)


def _windows(ctx: Context, params: QuantizeLlm) -> list[Tensor]:
    """Windows of one length: the tuning joins them in batches."""
    if params.tokens is None:
        return []
    found = spread_windows(read_token_ids(ctx, params.tokens), params.windows)
    longest = max(window.shape[1] for window in found)
    return [window for window in found if window.shape[1] == longest]


def _bytes(folder: Path, found: Checkpoint) -> int:
    return sum((folder / name).stat().st_size for name in {tensor.file for tensor in found.tensors.values()})
