"""The checks that know how quantized models run."""

from collections.abc import Iterator

from compressbuild.api import Check

__all__ = ["checks"]


def checks() -> Iterator[Check]:
    yield Check(
        name="saturation",
        run="cbuild_onnx.advice.quantized:saturation",
        summary="8-bit products that saturate on the processor they are for",
        reference="docs/techniques/quantize.static.md; ONNX Runtime, Quantize ONNX models: when and why to use "
        "reduce-range",
        priority=90,
    )
    yield Check(
        name="int8-not-faster",
        run="cbuild_onnx.advice.quantized:int8_not_faster",
        summary="int8 that is no faster than float, and why",
        reference="docs/techniques/quantize.static.md; Jacob et al., CVPR 2018",
        priority=50,
    )
    yield Check(
        name="weights-slower",
        run="cbuild_onnx.advice.quantized:weights_slower",
        summary="weights quantized alone that make a run slower",
        reference="docs/techniques/quantize.weights.md; Krishnamoorthi, Quantizing deep convolutional networks for "
        "efficient inference, 2018, arXiv:1806.08342",
        priority=45,
    )
    yield Check(
        name="slow-convolutions",
        run="cbuild_onnx.advice.quantized:slow_convolutions",
        summary="convolutions whose activations are quantized in every run",
        reference="docs/techniques/quantize.dynamic.md; ONNX Runtime, Quantize ONNX models: dynamic quantization for "
        "RNNs and transformers, static for CNNs",
        priority=55,
    )
