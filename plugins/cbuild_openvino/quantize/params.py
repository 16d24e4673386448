"""The parameters of this plugin's techniques."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, FunctionRef, Meta, Params

__all__ = ["OpenVinoCompress", "OpenVinoQuantize"]

Positive = Annotated[int, Meta(ge=1)]


class OpenVinoQuantize(Params):
    """Weights and activations to 8 bits by NNCF, calibrated on data; makes OpenVINO IR.

    ``preset``: ``performance`` (symmetric weights and activations), ``mixed`` (activations with zero points), or what
    NNCF takes for the model type. ``model_type``: ``transformer`` keeps in float what hurts in attention. ``smooth``:
    SmoothQuant's alpha for matrix products, with ``transformer`` (NNCF's own is 0.95). ``samples``: how many are used,
    ``batch_size`` at once. ``bias_correction``: ``fast``, or ``accurate``, which runs the model for each layer.
    ``target_device``: whose instructions the scheme is for. ``exclude``: globs of node names left alone;
    ``exclude_types``: OpenVINO's operator types.
    ``max_drop``: return the layers to float that cost most, until the metric is at most that much lower, measured on
    ``validation`` (default: ``data``); ``top1`` of the first output, or ``score``: ``f(outputs, labels)`` → number,
    higher is better; outputs: name → array.
    """

    data: DatasetRef
    preset: Literal["auto", "performance", "mixed"] = "auto"
    model_type: Literal["any", "transformer"] = "any"
    smooth: Annotated[float, Meta(ge=0, le=1)] | None = None
    samples: Positive = 300
    batch_size: Positive = 1
    bias_correction: Literal["fast", "accurate"] = "fast"
    target_device: Literal["any", "cpu", "gpu", "npu"] = "any"
    exclude: tuple[str, ...] = ()
    exclude_types: tuple[str, ...] = ()
    max_drop: Annotated[float, Meta(ge=0)] | None = None
    validation: DatasetRef | None = None
    score: FunctionRef | None = None


class OpenVinoCompress(Params):
    """Weights alone to 8 or 4 bits by NNCF; activations and arithmetic stay float. Makes OpenVINO IR.

    ``mode``: width, and whether there are zero points. For 4 bits: ``group_size``, inputs that share a scale (none: a
    whole channel; layers that it does not divide take a smaller one, or 8 bits); ``ratio``, the share of the weights
    that get 4 bits, the others get 8. ``all_layers``: embeddings and the last layer in 4 bits too. ``data``: a dataset
    to choose the scales and layers on, of which it uses ``samples``; ``scale_estimation`` and ``awq`` (Lin et al. 2024)
    need it. ``exclude``: globs of node names left alone; ``exclude_types``: OpenVINO's operator types.
    """

    mode: Literal["int8-asym", "int8-sym", "int4-asym", "int4-sym"] = "int8-asym"
    group_size: Positive | None = 128
    ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    all_layers: bool = False
    data: DatasetRef | None = None
    samples: Positive = 128
    scale_estimation: bool = False
    awq: bool = False
    exclude: tuple[str, ...] = ()
    exclude_types: tuple[str, ...] = ()
