"""Parameters of the pruning techniques."""

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

from ..train.params import Training

__all__ = [
    "PruneChannels",
    "PruneGradual",
    "PruneHeads",
    "PruneLayers",
    "PruneMagnitude",
    "PruneMovement",
    "PruneNm",
    "PruneRecurrent",
]


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


class PruneGradual(Training, kw_only=True):
    """Zero weights little by little while training: s_f + (s_i − s_f)(1 − (t − t0)/(nΔt))³ (Zhu & Gupta 2017).

    ``sparsity``: s_f, the share of zeros at the end; ``initial``: s_i, at the beginning. ``ramp``: ``cubic`` as above,
    ``linear``, or ``constant``: s_f from the beginning. ``begin``, ``end``, ``frequency``: t0, t0 + nΔt and Δt in
    ``unit``; after ``end`` (default: three quarters of the training) the zeros stay where they are. The masks are
    computed anew from the dense weights each time, so a weight may come back; ``masked``: weights under the mask keep
    their value (``keep``) or go on learning with the gradient of the masked model (``train``). ``scope``,
    ``overrides``, ``ignore``: as in prune.magnitude. ``teacher``, ``alpha``, ``temperature``: as in distill, if given.
    """

    epochs: Positive = 10
    sparsity: Ratio = 0.8
    initial: Ratio = 0.0
    ramp: Literal["cubic", "linear", "constant"] = "cubic"
    unit: Literal["epochs", "steps"] = "epochs"
    begin: Amount = 0.0
    end: Rate | None = None
    frequency: Rate = 0.25
    masked: Literal["keep", "train"] = "keep"
    scope: Literal["global", "local"] = "global"
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()
    teacher: ModelRef | None = None
    alpha: Share = 0.7
    temperature: Rate = 4.0


class PruneMovement(Training, kw_only=True):
    """Zero the weights that training moves towards zero: movement pruning (Sanh et al. 2020), for fine-tuning.

    Each weight has a score that is trained along at ``score_lr``, with the gradient ∂L/∂S = ∂L/∂W · W; the lowest are
    masked, and may come back. The share of zeros grows as in prune.gradual: ``sparsity``, ``initial``, ``ramp``,
    ``unit``, ``begin``, ``end``, ``frequency``. ``scope``, ``overrides``, ``ignore``: as in prune.magnitude.
    ``teacher``, ``alpha``, ``temperature``: as in distill, if given.
    """

    epochs: Positive = 10
    sparsity: Ratio = 0.8
    score_lr: Rate = 1e-2
    initial: Ratio = 0.0
    ramp: Literal["cubic", "linear", "constant"] = "cubic"
    unit: Literal["epochs", "steps"] = "epochs"
    begin: Amount = 0.0
    end: Rate | None = None
    frequency: Rate = 0.25
    scope: Literal["local", "global"] = "local"
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()
    teacher: ModelRef | None = None
    alpha: Share = 0.7
    temperature: Rate = 4.0


class PruneNm(Params):
    """Zero all but the ``n`` largest of every ``m`` weights in a row along the input (2:4 for sparse tensor cores).

    ``ignore``: globs of parameter names left alone. Layers whose input is no multiple of ``m`` are left alone too.
    """

    n: Positive = 2
    m: Annotated[int, Meta(ge=2)] = 4
    ignore: tuple[str, ...] = ()


class PruneHeads(Params):
    """Remove whole attention heads from the tensors, least important first (Michel et al. 2019).

    ``ratio``: share of the heads to remove, ranked over all layers (``global``, at least one stays in each) or in each
    (``local``). ``criterion``: ``weight``: the norm of a head's weights; ``gradient``: what the loss would change by,
    measured on ``samples`` of the labelled ``data`` with the task's loss, or ``loss``. ``overrides``: glob of attention
    layers → a ratio of their own; ``ignore``: globs of those left alone.
    """

    ratio: Ratio = 0.5
    criterion: Literal["weight", "gradient"] = "weight"
    scope: Literal["global", "local"] = "global"
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()
    data: DatasetRef | None = None
    samples: Positive = 256
    loss: FunctionRef | None = None


class PruneLayers(Params):
    """Drop whole blocks of a transformer or residual network: fewer layers.

    ``blocks``: globs of the blocks to choose from; by default every member of a list or sequence that has layers of its
    own and gives the shape that it takes. They count from 0 in the model's order. One of: ``drop``, those that go;
    ``keep``, those that stay; ``count``, how many go, ``by`` position (``last``, ``first``; ``spread``: those between
    evenly spaced ones) or measured on ``samples`` of ``data``, one after the other: the least change of the ``output``
    or the least task ``loss``.
    """

    blocks: tuple[str, ...] = ()
    drop: tuple[int, ...] | None = None
    keep: tuple[int, ...] | None = None
    count: Positive | None = None
    by: Literal["last", "first", "spread", "output", "loss"] = "output"
    data: DatasetRef | None = None
    samples: Positive = 256
    loss: FunctionRef | None = None


class PruneRecurrent(Params):
    """Prune LSTM, GRU and RNN layers: remove whole hidden units, or zero recurrent weights.

    ``mode``: ``units`` (smaller tensors; the layers that follow lose the columns) or ``weights`` (zeros). ``ratio``:
    share to remove. ``round_to``: units kept are the nearest multiple. ``scope``: weights ranked in each tensor or over
    all; ``input_weights``: weights on the layer's input too, not only on its state. ``overrides``: glob of layer names
    → a ratio of their own; ``ignore``: globs of those left alone.
    """

    mode: Literal["units", "weights"] = "units"
    ratio: Ratio = 0.5
    round_to: Positive = 8
    scope: Literal["local", "global"] = "local"
    input_weights: bool = False
    overrides: dict[str, Ratio] = {}
    ignore: tuple[str, ...] = ()
