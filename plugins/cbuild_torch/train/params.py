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

__all__ = [
    "Alpha",
    "Distill",
    "Epochs",
    "Finetune",
    "LearningRate",
    "Match",
    "TaskLoss",
    "Temperature",
    "Train",
    "Training",
    "WeightDecay",
]

# Fields that several structs have, each with defaults of its own.
Epochs = Annotated[Positive, Meta(description="passes over the data")]
LearningRate = Annotated[Rate, Meta(description="peak learning rate")]
WeightDecay = Annotated[Amount, Meta(description="decay of the weights; biases and norms have none")]
TaskLoss = Annotated[
    FunctionRef | None,
    Meta(
        description="your own loss, `f(outputs, labels)` → scalar tensor; without it, cross-entropy for integer "
        "labels, mean squared error for float labels of the output's shape"
    ),
]
Alpha = Annotated[Share, Meta(description="weight of the teacher's outputs; the labels weigh 1 − alpha")]
Temperature = Annotated[Rate, Meta(description="temperature T, which softens both distributions")]
_Compared = Literal["kl", "mse", "cosine"]
Match = Annotated[
    _Compared | dict[str, _Compared],
    Meta(
        description="how outputs are compared: `kl`, of classes; `mse`, of numbers; `cosine`, of embeddings on the "
        "last axis; or a mapping of output → one of these"
    ),
]


class Training(Params):
    """What every training technique takes."""

    data: Annotated[DatasetRef, Meta(description="dataset with labels; all its samples are held in memory")]
    epochs: Epochs = 10
    lr: LearningRate = 1e-3
    batch_size: Annotated[Positive, Meta(description="samples per step")] = 64
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw"], Meta(description="`sgd` has Nesterov momentum; `adamw` decouples the decay")
    ] = "adamw"
    momentum: Annotated[Ratio, Meta(description="momentum of `sgd`")] = 0.9
    weight_decay: WeightDecay = 1e-2
    schedule: Annotated[
        Literal["cosine", "linear", "step", "constant"],
        Meta(description="how the rate falls over the whole run; `step`: to a tenth at half and at three quarters"),
    ] = "cosine"
    warmup: Annotated[Amount, Meta(description="epochs in which the rate rises linearly before it falls")] = 0.0
    label_smoothing: Annotated[Ratio, Meta(description="label smoothing of the cross-entropy")] = 0.0
    clip: Annotated[Rate | None, Meta(description="largest norm of the gradient")] = None
    loss: TaskLoss = None
    freeze: Annotated[tuple[str, ...], Meta(description="globs of parameter names that stay as they are")] = ()
    keep_zeros: Annotated[bool, Meta(description="weights that pruning set to zero stay zero")] = True
    accumulate: Annotated[
        Positive,
        Meta(
            description="batches whose gradients are accumulated for one update, for batches larger than memory allows"
        ),
    ] = 1
    outputs: Annotated[
        tuple[str, ...],
        Meta(
            description="outputs to train on; with several, labels N×outputs×… have a column for each; without it "
            "`logits`, or else the first, and what no loss uses is reported as `left_out`"
        ),
    ] = ()
    class_axis: Annotated[
        Annotated[int, Meta(ge=-8, le=7)] | None,
        Meta(description="axis of the classes in an output, as 1 or -1; without it, as the shape of the labels says"),
    ] = None
    validation: Annotated[
        DatasetRef | None,
        Meta(description="labelled data whose loss is measured after every epoch; the best epoch's weights are kept"),
    ] = None
    patience: Annotated[
        Positive | None, Meta(description="stop after this many epochs without a better loss on `validation`")
    ] = None
    min_delta: Annotated[Amount, Meta(description="how much lower the loss must be to count as better")] = 0.0


class Train(Training):
    """Train a model on labelled data."""


class Finetune(Training):
    """Recover accuracy after a compression step: a short training at a small rate."""

    epochs: Epochs = 3
    lr: LearningRate = 3e-4


class Distill(Training, kw_only=True):
    """Train a student to give the teacher's outputs: alpha·T²·KL + (1 − alpha)·task loss (Hinton et al. 2015).

    To match hidden states or attention, the teacher must be a torch-model.
    """

    teacher: Annotated[
        ModelRef | None,
        Meta(description="any model or target that can be run; its outputs on `data` are computed once"),
    ] = None
    student: Annotated[
        ModelRef | None,
        Meta(
            description="a model or target to train instead of the step's own, which is then the teacher unless one is "
            "named"
        ),
    ] = None
    alpha: Alpha = 0.7
    temperature: Temperature = 4.0
    match: Match = "kl"
    hidden: Annotated[
        dict[str, str],
        Meta(
            description="glob of student layers → glob of teacher layers whose states should agree; where widths "
            "differ, through a linear projection that is trained along and not kept"
        ),
    ] = {}
    hidden_weight: Annotated[Amount, Meta(description="weight of the mean squared error of `hidden`")] = 1.0
    attention: Annotated[
        dict[str, str],
        Meta(
            description="glob of student layers → glob of teacher layers whose attention should agree: of attention "
            "layers the distributions, averaged over heads, without masks; of feature maps N×C×H×W the mean square "
            "over channels, scaled to length 1"
        ),
    ] = {}
    attention_weight: Annotated[
        Amount, Meta(description="weight of the squared error of `attention`, summed over positions")
    ] = 1.0
