"""The parameters of this plugin's techniques."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, DatasetRef, FunctionRef, Meta, Params, Positive, Share

__all__ = ["OpenVinoCompress", "OpenVinoQuantize"]

_Excluded = Annotated[tuple[str, ...], Meta(description="globs of node names left alone")]
_ExcludedTypes = Annotated[tuple[str, ...], Meta(description="OpenVINO's operator types left alone, such as `MatMul`")]


class OpenVinoQuantize(Params):
    """Weights and activations to 8 bits by NNCF, calibrated on data; makes OpenVINO IR.

    With ``max-drop`` it returns to float the layers that cost most, until the score is high enough.
    """

    data: Annotated[DatasetRef, Meta(description="dataset to calibrate on")]
    preset: Annotated[
        Literal["auto", "performance", "mixed"],
        Meta(
            description="`performance`: symmetric weights and activations; `mixed`: activations with zero points; "
            "`auto`: what NNCF takes for the model type"
        ),
    ] = "auto"
    model_type: Annotated[
        Literal["any", "transformer"],
        Meta(description="`transformer` keeps in float what quantization would hurt in attention"),
    ] = "any"
    smooth: Annotated[
        Share | None,
        Meta(
            description="with `transformer`: SmoothQuant's alpha for matrix products (NNCF's own is 0.95), how far "
            "outliers of activations move into weights"
        ),
    ] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 300
    batch_size: Annotated[Positive, Meta(description="samples run at once")] = 1
    bias_correction: Annotated[
        Literal["fast", "accurate"], Meta(description="`accurate` is slower: it runs the model for each layer")
    ] = "fast"
    target_device: Annotated[
        Literal["any", "cpu", "gpu", "npu"], Meta(description="device whose instructions decide the scheme")
    ] = "any"
    overflow_fix: Annotated[
        Literal["auto", "nncf", "all", "first-layer", "none"],
        Meta(
            description="layers whose weights get 7 bits, against products that saturate on x86-64 without VNNI; "
            "`auto`: `all` where the platform's processor is one, else NNCF's choice for the model",
            extra={"auto": "saturates", "fallback": False, "when": {True: "all", False: "nncf"}},
        ),
    ] = "auto"
    exclude: _Excluded = ()
    exclude_types: _ExcludedTypes = ()
    max_drop: Annotated[
        Amount | None,
        Meta(description="layers return to float, the most costly first, until the score is at most this much lower"),
    ] = None
    validation: Annotated[
        DatasetRef | None, Meta(description="dataset to score on, for `max-drop`; without it, `data`")
    ] = None
    score: Annotated[
        FunctionRef | None,
        Meta(
            description="your own score for `max-drop`, `f(outputs, labels)` → number, higher is better; `outputs`: "
            "name → array; without it, top-1 of the first output"
        ),
    ] = None


class OpenVinoCompress(Params):
    """Weights alone to 8 or 4 bits by NNCF; activations and arithmetic stay float. Makes OpenVINO IR."""

    mode: Annotated[
        Literal["int8-asym", "int8-sym", "int4-asym", "int4-sym"],
        Meta(description="width of the weights; `asym` has zero points, `sym` has none"),
    ] = "int8-asym"
    group_size: Annotated[
        Positive | None,
        Meta(
            description="for 4 bits: inputs that share a scale; layers that it does not divide take a smaller "
            "group, at "
            "least 16, or 8 bits; null: one scale for each channel"
        ),
    ] = 128
    ratio: Annotated[
        Share, Meta(description="for 4 bits: share of the weights that get them; the others, more sensitive, get 8")
    ] = 1.0
    all_layers: Annotated[bool, Meta(description="for 4 bits: embeddings and the last layer get them too")] = False
    data: Annotated[
        DatasetRef | None, Meta(description="for 4 bits: dataset on which scales and layers are chosen")
    ] = None
    samples: Annotated[Positive, Meta(description="how many samples of `data` are used")] = 128
    scale_estimation: Annotated[bool, Meta(description="fit the scales to the outputs on `data`")] = False
    awq: Annotated[
        bool, Meta(description="scale the salient channels, seen on `data`, before rounding (Lin et al. 2024)")
    ] = False
    exclude: _Excluded = ()
    exclude_types: _ExcludedTypes = ()
