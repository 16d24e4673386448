"""Fewer bits for a LiteRT model, with ai-edge-quantizer: https://github.com/google-ai-edge/ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer, recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from cbuild_kit import arrays, fit, fixed_batch
from cbuild_kit.coverage import coverage, merged
from cbuild_kit.fidelity import check_fidelity
from cbuild_kit.probes import probe

from compressbuild.api import Context, ModelInput, UserError

from . import flatbuffer
from .artifact import NAME, read_interface, tflite_file
from .params import QuantizeTflite
from .runner import TfliteRunner, one_line, stored

__all__ = ["quantize"]

_COMPARED, _PROBES = 64, 6  # samples; made-up inputs
_Arrays = Mapping[str, np.ndarray]
_CAUSES = (
    "ranges that the samples of 'data:' do not reach, one outlier that sets the scale of a tensor, or layers that 8 "
    "bits do not suit: 'precision: int8-dynamic' keeps activations in float, 'fp16' weights too"
)


def quantize(ctx: Context, model: Path, params: QuantizeTflite) -> dict[str, Any]:
    """Quantize weights, symmetric and per output channel, and with ``int8`` activations, affine and per tensor.

    Facts: those of :func:`cbuild_kit.coverage.coverage` and :func:`cbuild_kit.fidelity.check_fidelity`; ``samples``:
    how many calibrated.
    """
    source = tflite_file(model)
    before = flatbuffer.read(source)
    if flatbuffer.precision(before) != "fp32":
        raise UserError("the model is quantized already", hint="quantize its float source")
    runner = TfliteRunner(model, threads=ctx.threads)
    given = _samples(ctx, runner.inputs, params)
    rules = rules_of(params)
    made = quantizer.Quantizer(str(source), rules.get_quantization_recipe())
    facts: dict[str, Any] = {}
    ranges = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
            if params.precision == "int8":
                ranges = _ranges(ctx, source, rules, runner, given or [])
                facts["samples"] = sum(map(_count, given or []))
            bytes_ = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
    except UserError:
        raise
    except Exception as error:  # its passes raise whatever they trip over
        raise UserError(
            f"ai-edge-quantizer cannot quantize this model: {one_line(error)}",
            hint="'precision: int8-dynamic' and 'fp16' quantize fewer operators",
        ) from error
    (ctx.out / NAME).write_bytes(bytes_)
    if (found := read_interface(model)) is not None:
        found.write(ctx.out)
    after = flatbuffer.read(ctx.out / NAME)
    if flatbuffer.precision(after) == "fp32":
        raise UserError(
            "nothing could be quantized",
            hint="ai-edge-quantizer takes convolutions, products with weights and embeddings; this model has "
            + ", ".join(flatbuffer.operators(before)),
        )
    facts["operators"] = sum(flatbuffer.operators(after).values())
    del runner
    reached = coverage(ctx, flatbuffer.float_bytes(before), flatbuffer.float_bytes(after)) if _is_int(params) else {}
    return merged(facts, reached, _fidelity(ctx, model, given, params))


def rules_of(params: QuantizeTflite) -> RecipeManager:
    """What ai-edge-quantizer is asked for."""
    rules = RecipeManager()
    if params.precision == "fp16":
        rules.add_weight_only_config(
            ".*", TFLOperationName.ALL_SUPPORTED, num_bits=16, algorithm_key=AlgorithmName.FLOAT_CASTING
        )
    elif params.precision == "int8-dynamic":
        rules.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    else:
        rules.load_quantization_recipe(recipe.static_wi8_ai8())
        if params.io == "float":
            for edge in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
                rules.add_quantization_config(".*", edge, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return rules


def _is_int(params: QuantizeTflite) -> bool:
    return params.precision != "fp16"


def _count(feeds: _Arrays) -> int:
    return len(next(iter(feeds.values())))


def _samples(ctx: Context, inputs: tuple[ModelInput, ...], params: QuantizeTflite) -> list[_Arrays] | None:
    """Samples of the dataset, in batches that the model takes; None without a dataset."""
    if params.data is None:
        return None
    columns, labels = arrays(ctx.dataset(params.data), [item.name for item in inputs], limit=params.samples)
    columns = fit(columns, inputs)
    size = fixed_batch(inputs) or 1
    if len(labels) < size:
        raise UserError(f"the model takes batches of {size}, but '{params.data}' has only {len(labels)} samples")
    starts = range(0, len(labels) - len(labels) % size, size)
    return [{name: column[at : at + size] for name, column in columns.items()} for at in starts]


def _ranges(
    ctx: Context, source: Path, rules: RecipeManager, runner: TfliteRunner, given: Iterable[_Arrays]
) -> dict[str, Any]:
    """Of every tensor: the least and the largest value of all samples. The tool's own choice, a moving average over
    batches, cuts off what few samples reach."""
    signature = runner.signature
    if signature is None:
        raise UserError(
            "the LiteRT model has no signature, which calibration calls",
            hint="convert it again with a newer converter, or say 'precision: int8-dynamic'",
        )
    batches = [{name: stored(name, feeds[name], each) for name, each in runner.details.items()} for feeds in given]
    observers = Calibrator(source.read_bytes(), num_threads=ctx.threads, qsv_update_func=min_max_update)
    observers.calibrate({signature: batches}, rules)
    return dict(observers.get_model_qsvs())


def _fidelity(ctx: Context, model: Path, given: list[_Arrays] | None, params: QuantizeTflite) -> dict[str, Any]:
    """The quantized model against its source: on samples, else on made-up inputs."""
    causes = _CAUSES
    if given is None:
        made_up = _made_up(ctx, model)
        if made_up is None:
            return {"fidelity": "not measured: the model rejects generated inputs; name a dataset: 'data:'"}
        given, causes = made_up, f"generated inputs, which may not suit the model ('data: DATASET'); else {_CAUSES}"
    some: list[_Arrays] = []
    for feeds in given:
        if sum(map(_count, some)) >= _COMPARED:
            break
        some.append(feeds)
    return check_fidelity(
        ctx,
        lambda: TfliteRunner(model, threads=ctx.threads),
        lambda: TfliteRunner(ctx.out, threads=ctx.threads),
        some,
        what="quantize.tflite",
        causes=causes,
    )


def _made_up(ctx: Context, model: Path) -> list[_Arrays] | None:
    runner = TfliteRunner(model, threads=ctx.threads)
    first = {item.shape[0] for item in runner.inputs if item.shape and isinstance(item.shape[0], str)}
    probed = probe(runner.inputs, runner, axes={str(axis): (1,) for axis in first}, seed=ctx.seed)
    if not probed.taken:
        ctx.log.warning("the float model takes no made-up inputs: %s", next(iter(probed.refused.values()), ""))
        return None
    return [item.feeds for item, _ in probed.taken[:_PROBES]]
