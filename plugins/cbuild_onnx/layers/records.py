"""What offers the error of each layer: the kind, the technique that measures it, the metric and the check."""

from __future__ import annotations

from collections.abc import Iterator

from compressbuild.api import AnswerMetric, Check, Kind, Stack, Technique

from .params import LayerError, LayerErrors

__all__ = ["checks", "kinds", "metrics", "techniques"]


def kinds() -> Iterator[Kind]:
    yield Kind(
        name="layer-errors",
        files=("layers.json",),
        summary="how far each layer of a compressed model is from its source",
        validate="cbuild_onnx.layers.errors:validate",
    )


def techniques(stack: Stack) -> Iterator[Technique]:
    yield Technique(
        name="metrics.layer-errors",
        run="cbuild_onnx.layers.measure:measure",
        params=LayerErrors,
        consumes=("onnx",),
        produces="layer-errors",
        stack=stack,
    )


def metrics() -> Iterator[AnswerMetric]:
    yield AnswerMetric(
        name="layer-error",
        summary="least signal-to-noise ratio that a layer has of its own, against the model before it was compressed",
        source="SQNR of activations as in onnxruntime.quantization.qdq_loss_debug; each layer also run alone in float",
        run="cbuild_onnx.layers.errors:layer_error",
        params=LayerError,
        via="metrics.layer-errors",
        origin=("onnx",),
        unit="dB",
        direction="higher",
    )


def checks() -> Iterator[Check]:
    yield Check(
        name="which-layer",
        run="cbuild_onnx.advice.layers:which_layer",
        summary="the layer that loses most of the accuracy, by the metric layer-error",
        reference="docs/howto/layers.md; Nagel et al., A white paper on neural network quantization, 2021, "
        "arXiv:2106.08295",
        priority=80,
    )
