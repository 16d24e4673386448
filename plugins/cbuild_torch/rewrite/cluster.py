"""Weight sharing by clustering: Han, Mao, Dally, "Deep Compression", ICLR 2016."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressbuild.api import Context, UserError

from ..model.description import WEIGHTS
from ..model.module import load_plain, prepare, save_model, stored_weights
from ..model.selection import check_patterns, matching, other_layers, ratio_for
from ..train.companion import Companion
from ..train.optimise import optimise, read_samples, task_loss
from .fitting import check_clusters, kept_ratio, least_kept
from .params.cluster import ShareCluster

__all__ = ["share"]

_SHARED = (_ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase, nn.Embedding, nn.EmbeddingBag)


def share(ctx: Context, model: Path, params: ShareCluster) -> dict[str, Any]:
    """Cluster, train the centroids if there is data, store packed; returns bytes of the weights before and after."""
    prepare(ctx)
    module, description = load_plain(ctx, model)
    weights = _weights(module, params)
    if others := other_layers(module):
        ctx.log.warning("left alone: %s", others)
    assigned = {}
    for number, (name, weight) in enumerate(weights.items()):
        bits = int(ratio_for(name, params.overrides) or params.bits)
        assigned[name] = _cluster(weight, bits, params, keep_zeros=name in description.sparse)
        ctx.progress(number + 1, len(weights), stage="cluster")
    facts: dict[str, Any] = {}
    if params.data is not None:
        samples = read_samples(ctx, params.data, description.inputs)
        loss = task_loss(ctx, params, samples)
        facts = optimise(ctx, module, description, samples, params, loss, companion=_Shared(weights, assigned))
    entry = {name: {"channels": params.per_channel, "shape": list(w.shape), "bits": 8} for name, w in weights.items()}
    save_model(ctx, module, description, [{"op": "palette", "parameters": entry}])
    return {
        **facts,
        **_fidelity(ctx, model, weights, params),
        "tensors": len(weights),
        "values": max(int(weight.unique().numel()) for weight in weights.values()),
        "bytes_before": (model / WEIGHTS).stat().st_size,
        "bytes": (ctx.out / WEIGHTS).stat().st_size,
    }


def _fidelity(ctx: Context, model: Path, names: Iterable[str], params: ShareCluster) -> dict[str, Any]:
    """``weights_sqnr_db``: of the tensor that keeps least of its source, as both files have them. UserError for a
    tensor that is not clustered as asked; unless its values were trained since, for one that is another."""
    before, after = stored_weights(model), stored_weights(ctx.out)
    known = [name for name in names if name in before]
    trained = params.data is not None
    for name in known:
        bits = int(ratio_for(name, params.overrides) or params.bits)
        each = params.per_channel
        check_clusters(name, before[name], after[name], bits=bits, per_channel=each, moved=trained)
    worst, ratio = kept_ratio(before, after, known)
    if not trained:
        least_kept(worst, ratio)
    return {"weights_sqnr_db": ratio}


def _weights(module: nn.Module, params: ShareCluster) -> dict[str, nn.Parameter]:
    """Parameter name → weight to cluster; a tied one once."""
    layers = (layer for layer in module.modules() if isinstance(layer, _SHARED))
    owned = {id(value) for layer in layers for value in layer.parameters(recurse=False) if value.dim() > 1}
    found = {name: value for name, value in module.named_parameters() if id(value) in owned}
    check_patterns("ignore", params.ignore, found)
    check_patterns("overrides", params.overrides, found)
    left = {name: value for name, value in found.items() if not matching(name, params.ignore)}
    if not left:
        raise UserError(
            "the model has no weights to share in convolution, linear, attention, recurrent or embedding layers",
            hint="'ignore:' excludes them all" if params.ignore else other_layers(module) or "use distillation",
        )
    wide = next((name for name, value in left.items() if value.dtype != torch.float32), None)
    if wide is not None:
        raise UserError(f"'{wide}' is {left[wide].dtype}; only float32 is clustered", hint="'ignore:' leaves it out")
    return left


@torch.no_grad()
def _cluster(weight: nn.Parameter, bits: int, params: ShareCluster, *, keep_zeros: bool) -> Tensor:
    """Put each weight on its centroid; returns the number of its cluster, of the shape of the weight.

    Negative ones hold the zeros of a pruned tensor, which stay zero.
    """
    array = weight.detach().numpy()
    rows = array.reshape(len(array), -1) if params.per_channel else array.reshape(1, -1)
    values, numbers = np.empty_like(rows), np.empty(rows.shape, np.int64)
    for index, row in enumerate(rows):
        fixed = (row == 0) if keep_zeros else np.zeros(row.shape, bool)
        count = 2**bits - bool(fixed.any())
        values[index], numbers[index] = 0.0, -index - 1
        if not fixed.all():
            centroids, chosen = _kmeans(row[~fixed], count, params)
            values[index, ~fixed], numbers[index, ~fixed] = centroids[chosen], chosen + index * 2**bits
    weight.copy_(torch.from_numpy(values.reshape(array.shape)))
    return torch.from_numpy(numbers.reshape(array.shape))


def _kmeans(row: np.ndarray, count: int, params: ShareCluster) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm on a line, from sums over the sorted weights. Returns centroids, float32, and assignments."""
    ordered = np.sort(row.astype(np.float64))
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        centroids = distinct
    else:
        centroids = _start(ordered, count, params.init)
        sums = np.concatenate(([0.0], np.cumsum(ordered)))
        for _ in range(params.rounds):
            edges = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
            bounds = np.concatenate(([0], edges, [len(ordered)]))
            sizes = np.diff(bounds)
            moved = np.where(sizes > 0, np.diff(sums[bounds]) / np.maximum(sizes, 1), centroids)
            if np.array_equal(moved, centroids):
                break
            centroids = moved
    chosen = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, row.astype(np.float64))
    return centroids.astype(np.float32), chosen


def _start(ordered: np.ndarray, count: int, init: str) -> np.ndarray:
    if init == "linear":
        return np.linspace(ordered[0], ordered[-1], count)
    return np.quantile(ordered, (np.arange(count) + 0.5) / count)


class _Shared(Companion):
    """Weights of one cluster get the sum of their gradients, and move as one."""

    def __init__(self, weights: dict[str, nn.Parameter], assigned: dict[str, Tensor]) -> None:
        self._tied = []
        for name, weight in weights.items():
            number, first = np.unique(assigned[name].numpy(), return_index=True)
            compact = torch.from_numpy(np.searchsorted(number, assigned[name].numpy().reshape(-1)))
            self._tied.append((weight, compact, torch.from_numpy(first), torch.from_numpy(number < 0)))

    def between(self) -> None:
        for weight, numbers, first, fixed in self._tied:
            if weight.grad is not None:
                sums = torch.zeros(len(first)).index_add_(0, numbers, weight.grad.reshape(-1))
                weight.grad.copy_(sums.masked_fill_(fixed, 0.0)[numbers].view_as(weight))

    @torch.no_grad()
    def after(self) -> None:
        for weight, numbers, first, _ in self._tied:
            weight.copy_(weight.view(-1)[first][numbers].view_as(weight))
