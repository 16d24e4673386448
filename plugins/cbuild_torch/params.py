"""The parameters of this plugin's techniques."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import DatasetRef, FunctionRef, Meta, ModelRef, Params

__all__ = ["Distill", "ExportOnnx", "Finetune", "PruneChannels", "PruneMagnitude", "Train", "Training"]

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Ratio = Annotated[float, Meta(ge=0, lt=1)]
Amount = Annotated[float, Meta(ge=0)]


class Training(Params):
    """What every training technique takes.

    ``data``: samples, all held in memory. ``lr``: the peak; ``schedule`` moves it over the whole run, after ``warmup``
    epochs of linear rise (``step``: a tenth at half and at three quarters). ``weight_decay``: not applied to biases and
    norms. ``clip``: largest norm of the gradient. ``loss``: ``f(outputs, labels)`` → scalar tensor; default:
    cross-entropy for integer labels, mean squared error for float labels of the output's shape. ``freeze``: globs of
    parameter names that stay as they are. ``keep_zeros``: weights that pruning zeroed stay zero. ``accumulate``:
    batches whose gradients make one update, so that the batch is larger than fits in memory. ``validation``: labelled
    data whose task loss is measured after every epoch; the weights of the best epoch are kept. ``patience``: stop after
    that many epochs that were not better by at least ``min_delta``.
    """

    data: DatasetRef
    epochs: Positive = 10
    lr: Rate = 1e-3
    batch_size: Positive = 64
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    momentum: Ratio = 0.9
    weight_decay: Amount = 1e-2
    schedule: Literal["cosine", "linear", "step", "constant"] = "cosine"
    warmup: Amount = 0.0
    label_smoothing: Ratio = 0.0
    clip: Rate | None = None
    loss: FunctionRef | None = None
    freeze: tuple[str, ...] = ()
    keep_zeros: bool = True
    accumulate: Positive = 1
    validation: DatasetRef | None = None
    patience: Positive | None = None
    min_delta: Amount = 0.0


class Train(Training):
    """Train a model on labelled data."""


class Finetune(Training):
    """Recover accuracy after a compression step: a short training at a small rate."""

    epochs: Positive = 3
    lr: Rate = 3e-4


class Distill(Training, kw_only=True):
    """Train a student to give the teacher's outputs: alpha·T²·KL + (1 − alpha)·task loss (Hinton et al. 2015).

    ``teacher``: any model or target that can be run; its outputs on ``data`` are computed once. ``student``: a model or
    target to train instead of the step's own; that one is then the teacher, if none is named. ``match``: how outputs
    are compared: ``kl``, of classes on axis 1; ``mse``; ``cosine``, of embeddings on the last axis. ``hidden``: glob of
    student layers → glob of teacher layers whose states are to agree (mean squared error, times ``hidden_weight``);
    ``attention``: the same for attention distributions or feature maps (times ``attention_weight``). For those the
    teacher must be a torch-model.
    """

    teacher: ModelRef | None = None
    student: ModelRef | None = None
    alpha: Share = 0.7
    temperature: Rate = 4.0
    match: Literal["kl", "mse", "cosine"] = "kl"
    hidden: dict[str, str] = {}
    hidden_weight: Amount = 1.0
    attention: dict[str, str] = {}
    attention_weight: Amount = 1.0


class PruneMagnitude(Params):
    """Set the weights of smallest magnitude to zero, for good. Shapes stay; use prune.channels for a faster model.

    ``sparsity``: share of the weights of convolution, linear, attention and recurrent layers (not of embeddings, norms
    and biases) to zero, ranked together (``global``) or in each tensor (``local``). ``overrides``: glob of parameter
    names → a share of their own. ``ignore``: globs of parameter names left alone.
    """

    sparsity: Ratio = 0.5
    scope: Literal["global", "local"] = "global"
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()


class PruneChannels(Params):
    """Remove whole channels, following dependencies through the graph (DepGraph, Fang et al. 2023): smaller tensors.

    ``ratio``: share of channels to remove. ``round_to``: channels kept are the nearest multiple (odd widths run slower
    than they save). ``criterion``: what ranks a channel; ``taylor`` needs ``data`` and uses ``samples`` of it.
    ``scope``: ranked within each layer, or over all. ``max_ratio``: at most that share of a layer. ``overrides``: glob
    of layer names → a ratio of their own. ``ignore``: globs of layer names left alone; layers that make the outputs
    always are, and attention layers. ``steps``: remove in that many rounds, ranking anew before each.
    ``recover_epochs``: train for so long on ``data`` between two rounds, as finetune does, at ``recover_lr`` in batches
    of ``recover_batch_size``. ``loss``: of that training and of ``taylor``; default as in finetune.
    """

    ratio: Ratio = 0.5
    criterion: Literal["l1", "l2", "taylor", "bn-scale"] = "l2"
    scope: Literal["local", "global"] = "local"
    max_ratio: Ratio = 0.9
    round_to: Positive = 8
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()
    steps: Positive = 1
    data: DatasetRef | None = None
    samples: Positive = 256
    recover_epochs: Annotated[int, Meta(ge=0)] = 0
    recover_lr: Rate = 3e-4
    recover_batch_size: Positive = 64
    loss: FunctionRef | None = None


class ExportOnnx(Params):
    """Export to ONNX; named axes of the model's inputs become dynamic. Checked against torch through ONNX Runtime.

    ``outputs``: names of the outputs, in the model's order (default: as the model names them). ``sizes``: axis name →
    size used for tracing. ``data``: dataset to check on (default: made-up inputs).
    ``atol``, ``rtol``: allowed difference of each output from torch's.
    """

    opset: Annotated[int, Meta(ge=18)] = 20
    outputs: tuple[str, ...] = ()
    sizes: dict[str, Positive] = {}
    data: DatasetRef | None = None
    atol: Amount = 1e-4
    rtol: Amount = 1e-3
