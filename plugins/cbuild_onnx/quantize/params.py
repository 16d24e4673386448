"""Parameters of the quantizers."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, DatasetRef, FunctionRef, Meta, Narrow, Params, Positive, Rate, Share, schemes

__all__ = ["SCHEMES", "QuantizeDynamic", "QuantizeMixed", "QuantizeStatic", "QuantizeWeights"]

SCHEMES = ("u8-affine", "s8-symmetric")

_Excluded = Annotated[tuple[str, ...], Meta(description="globs of node names left alone")]
_PerChannel = Annotated[bool, Meta(description="a scale for each output channel of a weight")]
_BatchSize = Annotated[Positive, Meta(description="samples run at once")]


class QuantizeDynamic(Params):
    """Weights to 8 bits; activations are quantized while running, so no data is needed. For transformers and MLPs."""

    weights: Annotated[
        Literal["auto", "int8", "uint8"],
        Meta(
            description="type of the quantized weights; products of `uint8` are exact on every processor, but for "
            "LSTMs; `auto`: `uint8` where the platform's processor is an x86-64 without VNNI, else `int8`",
            extra={"auto": "saturates", "fallback": False, "when": {True: "uint8", False: "int8"}},
        ),
    ] = "auto"
    per_channel: _PerChannel = True
    data: Annotated[
        DatasetRef | None,
        Meta(description="dataset on which the result is compared with the float model; without it, generated inputs"),
    ] = None
    op_types: Annotated[
        tuple[str, ...],
        Meta(
            description="operators to quantize; `Gemm` is rewritten as `MatMul`; convolutions become several times "
            "slower this way"
        ),
    ] = ("MatMul", "Gemm")
    exclude: _Excluded = ()
    reduce_range: Annotated[
        Narrow,
        Meta(
            description="7-bit weights, if they are `int8` or of LSTMs; `auto`: where the platform's processor is an "
            "x86-64 without VNNI, which saturates products of 8 bits"
        ),
    ] = "auto"


class QuantizeStatic(Params):
    """Weights and activations to 8 bits, with scales calibrated on data (QDQ format)."""

    data: Annotated[DatasetRef, Meta(description="dataset to calibrate on")]
    scheme: Annotated[
        str,
        schemes(*SCHEMES),
        Meta(
            description="how scales are chosen: `u8-affine`, `s8-symmetric`, or `auto`, what the target's platform "
            "wants (`u8-affine` without a platform)"
        ),
    ] = "auto"
    activations: Annotated[
        Literal["auto", "uint8", "int8", "uint16", "int16"],
        Meta(
            description="type of the activations, which the scheme must allow; 16 bits are more exact, but no faster "
            "than float on CPUs"
        ),
    ] = "auto"
    per_channel: _PerChannel = True
    method: Annotated[
        Literal["minmax", "entropy", "percentile"], Meta(description="how the range of a tensor is chosen")
    ] = "minmax"
    percentile: Annotated[float, Meta(gt=50, le=100, description="percentile, for `method: percentile`")] = 99.999
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 512
    batch_size: _BatchSize = 32
    op_types: Annotated[
        tuple[str, ...], Meta(description="operators to quantize; without it, every one that can be")
    ] = ()
    exclude: _Excluded = ()
    reduce_range: Annotated[
        Narrow,
        Meta(
            description="7-bit weights; `auto`: where the platform's processor is an x86-64 without VNNI, which "
            "saturates products of 8 bits"
        ),
    ] = "auto"
    smooth: Annotated[
        Share | None,
        Meta(
            description="for transformers: SmoothQuant's alpha (0.5 is usual), how far outliers of activations after a "
            "LayerNormalization move into the weights of the products that read it"
        ),
    ] = None


class QuantizeMixed(QuantizeStatic):
    """Static quantization that leaves in float the layers that cost too much accuracy, found by measuring each."""

    metric: Annotated[
        Literal["top1", "sqnr"],
        Meta(
            description="`top1` of the first output, on its last axis; or `sqnr`, the signal-to-noise ratio of all "
            "outputs against the float model's"
        ),
    ] = "top1"
    max_drop: Annotated[Amount, Meta(description="how much lower than in float the metric may be")] = 0.005
    min_sqnr: Annotated[Rate, Meta(description="the least `sqnr` allowed, in decibels, instead of `max-drop`")] = 20.0
    score: Annotated[
        FunctionRef | None,
        Meta(
            description="your own metric instead, `f(outputs, labels)` → number, higher is better; `outputs`: name → "
            "array"
        ),
    ] = None
    validation: Annotated[DatasetRef | None, Meta(description="dataset to measure on; without it, `data`")] = None
    layers: Annotated[tuple[str, ...], Meta(description="operators that are tried one by one")] = (
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
    )


class QuantizeWeights(Params):
    """Weights alone to 4 or 8 bits, in blocks with a scale each; activations and arithmetic stay float."""

    bits: Annotated[Literal[4, 8], Meta(description="bits of a weight")] = 4
    block_size: Annotated[Literal[16, 32, 64, 128, 256], Meta(description="inputs that share a scale")] = 32
    symmetric: Annotated[bool, Meta(description="no zero points: smaller, less exact")] = False
    method: Annotated[
        Literal["rtn", "hqq", "gptq"],
        Meta(
            description="`rtn` rounds to nearest; `hqq` fits fractional zero points (Badri & Shaji 2023; 4 bits, "
            "asymmetric, `format: nbits`); `gptq` corrects each rounding in the weights not yet rounded (Frantar et "
            "al. 2022) and needs `data`"
        ),
    ] = "rtn"
    data: Annotated[
        DatasetRef | None,
        Meta(description="dataset whose inputs `gptq` sees, and on which the result is compared with the float model"),
    ] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 128
    batch_size: _BatchSize = 32
    op_types: Annotated[
        tuple[Literal["MatMul", "Gemm", "Gather", "Conv", "LSTM", "GRU", "RNN"], ...],
        Meta(
            description="operators whose constant weights are quantized; `Gather`: tables of embeddings, rounded to "
            "nearest; `Conv`, `LSTM`, `GRU` and `RNN` in 8 bits, with a scale for each output channel"
        ),
    ] = ("MatMul", "Gemm")
    exclude: _Excluded = ()
    format: Annotated[
        Literal["nbits", "qdq"],
        Meta(
            description="`nbits`: ONNX Runtime's own MatMulNBits; `qdq`: standard DequantizeLinear in blocks "
            "(opset 21), "
            "for other runtimes"
        ),
    ] = "nbits"
