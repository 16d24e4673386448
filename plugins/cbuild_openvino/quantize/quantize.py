"""Post-training quantization by NNCF: FakeQuantize nodes around 8-bit weights, in OpenVINO IR."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import require_labels

from compressbuild.api import Context, UserError

from ..artifact import interface, note, write
from ..runtime import nncf
from ..signs import keep_signs
from .checking import compared, compiled
from .params import OpenVinoQuantize
from .subject import Samples, by_nncf, ignored, open_float

__all__ = ["quantize"]

_VALIDATION_BATCH = 64
_OVERFLOW = {"first-layer": "first_layer_only", "all": "enable", "none": "disable"}
_CAUSES = (
    "values of different ranges in one tensor (leave what joins them in float: 'exclude:'), ranges that the samples of "
    "'data:' do not reach, 8-bit products that saturate on x86-64 without VNNI ('overflow-fix: all'), or attention "
    "without 'model-type: transformer'"
)


def quantize(ctx: Context, artifact: Path, params: OpenVinoQuantize) -> dict[str, Any]:
    """Calibrate and quantize; returns the noise, how many nodes quantize and were left alone, the samples used."""
    if params.max_drop is None and (params.validation or params.score):
        raise UserError("'validation:' and 'score:' are only used with 'max-drop:', which is not set")
    if params.smooth is not None and params.model_type != "transformer":
        raise UserError("'smooth:' is for transformers", hint="give 'model-type: transformer' too")
    model = open_float(ctx, artifact)
    declared = interface(model)
    library = nncf()
    samples = Samples(ctx, model, params.data, limit=params.samples, batch_size=params.batch_size)
    scope, excluded = ignored(model, params.exclude, params.exclude_types)
    options = {
        "preset": None if params.preset == "auto" else library.QuantizationPreset(params.preset),
        "model_type": library.ModelType.TRANSFORMER if params.model_type == "transformer" else None,
        "target_device": library.TargetDevice(params.target_device.upper()),
        "subset_size": len(samples),
        "fast_bias_correction": params.bias_correction == "fast",
        "ignored_scope": scope,
    }
    alphas = library.AdvancedSmoothQuantParameters(matmul=-1 if params.smooth is None else params.smooth)
    fix = _OVERFLOW.get(params.overflow_fix)
    advanced = library.AdvancedQuantizationParameters(
        smooth_quant_alphas=alphas, overflow_fix=library.OverflowFix(fix) if fix else None
    )
    facts = {}
    with by_nncf("quantize the model"):
        if params.max_drop is None:
            made = library.quantize(model, library.Dataset(samples), **options, advanced_parameters=advanced)
            keep_signs(made)
        else:
            options["advanced_quantization_parameters"] = advanced
            made, facts = _controlled(ctx, model, samples, params, options)
    count = sum(node.get_type_name() == "FakeQuantize" for node in made.get_ops())
    if count == 0:
        raise UserError("nothing could be quantized", hint="'exclude:' or 'exclude-types:' may name every layer")
    note(made, {item.name: item.shape for item in declared.inputs}, declared.outputs)
    write(made, ctx.out)
    causes = ("'smooth:'; " if params.smooth is not None else "") + _CAUSES
    facts |= compared(ctx, artifact, model, samples, what="openvino.quantize", causes=causes)
    return {
        **facts,
        "quantize_nodes": count,
        "excluded": excluded,
        "samples": len(samples.labels),
        "calibration": samples.variety,
    }


def _controlled(
    ctx: Context, model: Any, samples: Samples, params: OpenVinoQuantize, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Quantized with as many layers in float as ``max_drop`` asks for."""
    library = nncf()
    outputs = interface(model).outputs
    data = params.validation or params.data
    validation = Samples(ctx, model, data, batch_size=_VALIDATION_BATCH, stage="validate")
    score = _score(ctx, params)
    scores: list[float] = []

    def validate(compiled: Any, batches: Iterable[dict[str, np.ndarray]]) -> tuple[float, list[float] | None]:
        results = [compiled(batch) for batch in batches]
        found = {name: np.concatenate([result[name] for result in results]) for name in outputs}
        scores.append(score(found, validation.labels))
        return scores[-1], None

    made = library.quantize_with_accuracy_control(
        model,
        library.Dataset(samples),
        library.Dataset(validation),
        validate,
        max_drop=params.max_drop,
        drop_type=library.DropType.ABSOLUTE,
        **options,
    )
    keep_signs(made)
    final, _ = validate(compiled(made), validation)
    if scores[0] - final > params.max_drop + 1e-9:
        raise UserError(
            f"'max-drop: {params.max_drop:g}' cannot be met: the score is {final:.4f}, in float {scores[0]:.4f}",
            hint=f"too few samples in 'validation:' to show so small a drop, {_CAUSES}",
        )
    return made, {"score": final, "score_float": scores[0], "measured": len(scores)}


def _score(ctx: Context, params: OpenVinoQuantize) -> Callable[[dict[str, np.ndarray], np.ndarray], float]:
    if params.score is not None:
        function = ctx.function(params.score)
        return lambda outputs, labels: float(function(outputs, labels))

    def top1(outputs: dict[str, np.ndarray], labels: np.ndarray) -> float:
        require_labels(labels, "'max-drop' without a 'score:'")
        first = next(iter(outputs.values()))
        if first.shape[:-1] != labels.shape or labels.dtype.kind not in "iub":
            raise UserError(
                f"top1 needs integer labels of shape {list(first.shape[:-1])}, they are {labels.dtype} "
                f"{list(labels.shape)}",
                hint="give a 'score:' of your own",
            )
        return float((first.argmax(-1) == labels).mean())

    return top1
