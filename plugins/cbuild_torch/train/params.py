"""Parameters of the training techniques."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Amount,
    DatasetRef,
    FunctionRef,
    Meta,
    ModelRef,
    Params,
    Positive,
    Rate,
    Ratio,
    Share,
)

__all__ = ["Distill", "Finetune", "Train", "Training"]


Match = Literal["kl", "mse", "cosine"]


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
    outputs: Annotated[
        tuple[str, ...],
        Meta(description="outputs to train on; with several, labels N×outputs×… have a column for each"),
    ] = ()
    class_axis: Annotated[
        int | None,
        Meta(description="axis of the classes in an output, e.g. 1 or -1; by default as the shape of the labels says"),
    ] = None
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
    are compared: ``kl``, of classes; ``mse``; ``cosine``, of embeddings on the last axis; or output → one of these.
    ``hidden``: glob of
    student layers → glob of teacher layers whose states are to agree (mean squared error, times ``hidden_weight``);
    ``attention``: the same for attention distributions or feature maps (times ``attention_weight``). For those the
    teacher must be a torch-model.
    """

    teacher: ModelRef | None = None
    student: ModelRef | None = None
    alpha: Share = 0.7
    temperature: Rate = 4.0
    match: Match | dict[str, Match] = "kl"
    hidden: dict[str, str] = {}
    hidden_weight: Amount = 1.0
    attention: dict[str, str] = {}
    attention_weight: Amount = 1.0
