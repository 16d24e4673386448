"""A causal language model of transformers as OpenVINO's model, whose cached keys and values are its state.

The form is the one that OpenVINO GenAI expects: inputs ``input_ids`` N×T, ``attention_mask`` N×(past + T),
``position_ids`` N×T and ``beam_idx`` N, output ``logits`` N×T×V (openvino.genai, "Stateful models"; the same as
optimum-intel writes).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cbuild_openvino.runtime import openvino, silent
from openvino import opset13 as op
from openvino._offline_transformations import apply_make_stateful_transformation
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from compressbuild.api import UserError

from .artifact import DETOKENIZER, TOKENIZER

__all__ = ["convert", "convert_tokenizer"]

_PAST, _NEW, _BATCH = 5, 3, 2  # sizes of the example; the traced model takes any


class _Step(nn.Module):
    """One step of a model: what comes in and goes out is plain tensors."""

    def __init__(self, model: nn.Module, positions: bool) -> None:
        super().__init__()
        self.model = model
        self._positions = positions

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        given, past = ({"position_ids": rest[0]}, rest[1:]) if self._positions else ({}, rest)
        cache = DynamicCache()
        for keys, values in zip(past[::2], past[1::2], strict=True):
            cache.layers.append(_filled(keys, values))
        made = self.model(
            input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True, **given
        )
        layers = made.past_key_values.layers
        return (made.logits, *(tensor for layer in layers for tensor in (layer.keys, layer.values)))


def _filled(keys: Tensor, values: Tensor) -> DynamicLayer:
    """A layer that keeps all tokens: where attention has a window, the mask cuts it."""
    layer = DynamicLayer()
    layer.keys, layer.values = keys, values
    layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
    return layer


def convert(model: nn.Module) -> Any:
    """The model in float32. UserError if its cache is no keys and values, or OpenVINO cannot follow it."""
    mixture: Any = model
    if hasattr(mixture, "set_experts_implementation"):
        mixture.set_experts_implementation("batched_mm")  # the usual one sorts by expert, with what OpenVINO lacks
    sizes = _sizes(model)
    positions = "position_ids" in inspect.signature(model.forward).parameters
    example = [torch.ones(_BATCH, _NEW, dtype=torch.int64), torch.ones(_BATCH, _PAST + _NEW, dtype=torch.int64)]
    if positions:
        example.append(torch.arange(_PAST, _PAST + _NEW)[None].repeat(_BATCH, 1))
    generator = torch.Generator().manual_seed(0)
    example += [torch.randn(_BATCH, heads, _PAST, width, generator=generator) for heads, width in sizes]
    try:
        with torch.no_grad(), silent(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of each shape that becomes a number: logits are compared
            made = openvino.convert_model(_Step(model, positions).eval(), example_input=tuple(example))
    except Exception as error:  # the tracer wraps whatever the model's code raises; OpenVINO has its own classes
        raise UserError(f"OpenVINO cannot convert this model: {' '.join(str(error).split())[:300]}") from error
    _name(made, sizes, positions)
    _make_stateful(made, sizes)
    return made


def _sizes(model: nn.Module) -> list[tuple[int, int]]:
    """(heads, width) of the keys and of the values of each layer, in turn."""
    with torch.no_grad():
        made = model(input_ids=torch.ones(1, 2, dtype=torch.int64), use_cache=True)
    cache = getattr(made, "past_key_values", None)  # a state-space model has none
    found = []
    for layer in getattr(cache, "layers", [None]):
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if not isinstance(tensor, Tensor) or tensor.dim() != 4:
                raise UserError(
                    "this model keeps something other than keys and values from token to token",
                    hint="OpenVINO GenAI takes decoders of attention layers; try the backend 'gguf'",
                )
            found.append((tensor.shape[1], tensor.shape[3]))
    return found


def _pairs(sizes: list[tuple[int, int]]) -> Iterator[tuple[str, str]]:
    """Names of each cached tensor as an input and as an output."""
    for at in range(len(sizes)):
        part = "value" if at % 2 else "key"
        yield f"past_key_values.{at // 2}.{part}", f"present.{at // 2}.{part}"


def _name(made: Any, sizes: list[tuple[int, int]], positions: bool) -> None:
    plain = ["input_ids", "attention_mask", *(["position_ids"] if positions else [])]
    pairs = list(_pairs(sizes))
    for port, name in zip(made.inputs, [*plain, *(past for past, _ in pairs)], strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(made.outputs, ["logits", *(present for _, present in pairs)], strict=True):
        port.get_tensor().set_names({name})
    for port, (heads, width) in zip(made.inputs[len(plain) :], sizes, strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape([-1, heads, -1, width]))
    made.validate_nodes_and_infer_types()


def _make_stateful(made: Any, sizes: list[tuple[int, int]]) -> None:
    """Cached tensors become variables, empty at first, whose sequences ``beam_idx`` chooses."""
    beam = op.parameter([-1], np.int32, name="beam_idx")
    beam.output(0).get_tensor().set_names({"beam_idx"})
    made.add_parameters([beam])
    pairs = dict(_pairs(sizes))
    for name in pairs:
        port = made.input(name)
        readers = list(port.get_target_inputs())
        chosen = op.gather(port, beam, op.constant(np.int64(0)))
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
    made.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(made, pairs)
    ids = made.input("input_ids")
    batch = op.gather(op.shape_of(ids, "i64"), op.constant(np.array([0])), op.constant(np.int64(0)))
    for node in made.get_ops():
        if node.get_type_name() == "ReadValue":
            shape = node.get_output_partial_shape(0)
            rest = [op.constant(np.array([n])) for n in (shape[1].get_length(), 0, shape[3].get_length())]
            node.set_arguments([op.broadcast(op.constant(np.float32(0)), op.concat([batch, *rest], 0))])
    made.validate_nodes_and_infer_types()


def convert_tokenizer(tokenizer: Any, out: Path) -> None:
    """Write the tokenizer and the detokenizer. UserError if they cannot be converted."""
    from openvino_tokenizers import convert_tokenizer as convert

    try:
        pair = convert(tokenizer, with_detokenizer=True)
    except Exception as error:  # it has no class of its own for what it does not know
        raise UserError(
            f"openvino-tokenizers cannot convert the tokenizer: {' '.join(str(error).split())[:300]}",
            hint="it takes fast tokenizers: save the model's with a 'tokenizer.json'",
        ) from error
    for made, name in zip(pair, (TOKENIZER, DETOKENIZER), strict=True):
        openvino.save_model(made, str(out / f"{name}.xml"), compress_to_fp16=False)
