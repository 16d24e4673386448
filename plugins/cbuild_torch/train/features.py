"""Matching a teacher's inner states: FitNets (Romero et al. 2015), attention transfer (Zagoruyko & Komodakis 2017)
and attention distributions (Jiao et al., "TinyBERT", 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, normalize

from compressbuild.api import UserError

from ..model.head_layers import HeadLayer, head_layers
from ..model.objective import Loss, Samples
from ..model.selection import matching
from .companion import Companion
from .params import Distill

__all__ = ["FeatureMatching"]

_EPSILON = 1e-6
Pair = tuple[str, str]
Call = Callable[[Mapping[str, Tensor]], Any]


class FeatureMatching(Companion):
    """Adds to a loss how far the student's hidden states and attention are from the teacher's, layer by layer.

    Hidden states of other widths are compared through a linear projection, trained along and not kept.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, call: Call, teach: Call, samples: Samples, params: Distill
    ) -> None:
        """``call``, ``teach``: call the student and the teacher with the student's inputs."""
        self._params, self._samples, self._call = params, samples, teach
        self._of_student, self._of_teacher = _Capture(student), _Capture(teacher)
        self._hidden = _pairs("hidden", params.hidden, student, teacher)
        self._attention = _pairs("attention", params.attention, student, teacher)
        for ours, theirs in self._hidden:
            self._of_student.output(ours)
            self._of_teacher.output(theirs)
        for ours, theirs in self._attention:
            self._of_student.attention(ours)
            self._of_teacher.attention(theirs)
        self._projections = nn.ModuleDict()
        self._try(call)

    def _try(self, student: Call) -> None:
        """Make the projections, from what two samples give; UserError where two layers cannot be compared."""
        feeds = {name: tensor[:2] for name, tensor in self._samples.inputs.items()}
        with torch.no_grad():
            student(feeds)
            self._call(feeds)
        for ours, theirs in self._hidden:
            one, other = self._of_student.seen[ours], self._of_teacher.seen[theirs]
            axis = _width_axis(one)
            rest = [shape[:axis] + shape[axis + 1 :] for shape in (list(one.shape), list(other.shape))]
            if one.dim() != other.dim() or rest[0] != rest[1]:
                raise UserError(
                    f"hidden states of '{ours}' {list(one.shape)} and the teacher's '{theirs}' {list(other.shape)} "
                    "differ in more than their width",
                    hint="match layers of the same resolution; 'attention:' compares feature maps of any width",
                )
            if one.shape[axis] != other.shape[axis]:
                projection = nn.Linear(one.shape[axis], other.shape[axis])
                self._projections[_key(ours, theirs)] = projection
        for ours, theirs in self._attention:
            one, other = self._of_student.seen[f"attention {ours}"], self._of_teacher.seen[f"attention {theirs}"]
            if one.shape != other.shape:
                raise UserError(
                    f"attention of '{ours}' {list(one.shape)} and of the teacher's '{theirs}' {list(other.shape)} "
                    "differ in shape",
                    hint="match layers that see the same positions",
                )
        self._of_student.seen.clear()
        self._of_teacher.seen.clear()

    def modules(self) -> nn.Module:
        return self._projections

    def loss(self, base: Loss) -> Loss:
        """``base`` and, weighted, the distances of the pairs, each the mean over its elements."""

        def total(result: Any, chosen: Tensor) -> Tensor:
            value = base(result, chosen)
            ours = dict(self._of_student.seen)
            with torch.no_grad():
                self._call(self._samples.feeds(chosen))
            theirs = self._of_teacher.seen
            for pair in self._hidden:
                value = value + self._params.hidden_weight * self._distance(ours[pair[0]], theirs[pair[1]], pair)
            for one, other in self._attention:
                distance = mse_loss(ours[f"attention {one}"], theirs[f"attention {other}"], reduction="sum")
                value = value + self._params.attention_weight * distance / len(chosen)
            return value

        return total

    def _distance(self, ours: Tensor, theirs: Tensor, pair: Pair) -> Tensor:
        key = _key(*pair)
        if key in self._projections:
            axis = _width_axis(ours)
            ours = self._projections[key](ours.movedim(axis, -1)).movedim(-1, axis)
        return mse_loss(ours, theirs)

    def close(self) -> None:
        """Leave the models as they were."""
        self._of_student.remove()
        self._of_teacher.remove()


def _key(ours: str, theirs: str) -> str:
    return f"{ours} {theirs}".replace(".", "/")


def _width_axis(hidden: Tensor) -> int:
    """Channels of a feature map N×C×H×W, else the last axis."""
    return 1 if hidden.dim() == 4 else hidden.dim() - 1


def _pairs(what: str, wanted: Mapping[str, str], student: nn.Module, teacher: nn.Module) -> list[Pair]:
    """Student layer and teacher layer for each pair of globs. A longer list is matched at even distances, its last
    layer to the last."""
    pairs: list[Pair] = []
    for ours, theirs in wanted.items():
        found = []
        for whose, pattern, module in (("student", ours, student), ("teacher", theirs, teacher)):
            names = [name for name, _ in module.named_modules() if name]
            chosen = [name for name in names if matching(name, [pattern])]
            if not chosen:
                raise UserError(
                    f"'{what}: {pattern}' matches no layer of the {whose}",
                    hint=f"there are e.g. {', '.join(names[:8])}",
                )
            found.append(chosen)
        one, other = found
        count = min(len(one), len(other))
        spread = [[each[(i + 1) * len(each) // count - 1] for i in range(count)] for each in (one, other)]
        pairs.extend(zip(*spread, strict=True))
    return pairs


class _Capture:
    """Keeps the outputs of layers in the latest call of a model."""

    def __init__(self, module: nn.Module) -> None:
        self.seen: dict[str, Tensor] = {}
        self._module = module
        self._heads = head_layers(module)
        self._hooks: list[Any] = []

    def remove(self) -> None:
        for handle in self._hooks:
            handle.remove()
        self.seen.clear()

    def output(self, name: str) -> None:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            self.seen[name] = _tensor(name, output)

        self._hooks.append(self._module.get_submodule(name).register_forward_hook(hook))

    def attention(self, name: str) -> None:
        """Of an attention layer its distribution, N×L×S, mean over heads; of a feature map N×C×H×W the mean square over
        channels, N×H×W, at length 1."""
        layer = self._module.get_submodule(name)
        key = f"attention {name}"
        if isinstance(layer, nn.MultiheadAttention):
            self._hooks.append(layer.register_forward_hook(self._of_torch(key), with_kwargs=True))
        elif name in self._heads:
            self._of_parts(key, self._heads[name])
        else:

            def hook(_: nn.Module, inputs: Any, output: Any) -> None:
                value = _tensor(name, output)
                if value.dim() != 4:
                    raise UserError(
                        f"'attention: {name}' is neither an attention layer nor a feature map, it gives "
                        f"{list(value.shape)}",
                        hint="'hidden:' compares any states",
                    )
                maps = value.square().mean(1)
                self.seen[key] = normalize(maps.flatten(1), eps=_EPSILON).view_as(maps)

            self._hooks.append(layer.register_forward_hook(hook))

    def _of_torch(self, key: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
            q, k = args[0] if args else kwargs["query"], args[1] if len(args) > 1 else kwargs["key"]
            self.seen[key] = _mean_attention(layer, q, k)

        return hook

    def _of_parts(self, key: str, layer: HeadLayer) -> None:
        """From what the query and key layers give; masks that the layer adds to it are not seen."""
        query: list[Tensor] = []

        def of_query(_: nn.Module, inputs: Any, output: Tensor) -> None:
            query[:] = [output]

        def of_key(_: nn.Module, inputs: Any, output: Tensor) -> None:
            q, k = (value.unflatten(-1, (-1, layer.size)).transpose(1, 2) for value in (query[0], output))
            k = k.repeat_interleave(layer.queries, 1)
            self.seen[key] = torch.softmax(q @ k.transpose(-2, -1) * layer.size**-0.5, dim=-1).mean(1)

        self._hooks += [
            layer.inputs[0].register_forward_hook(of_query),
            layer.inputs[1].register_forward_hook(of_key),
        ]


def _tensor(name: str, output: Any) -> Tensor:
    value = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(value, Tensor):
        raise UserError(f"layer '{name}' gives a {type(value).__name__}, not a tensor", hint="match another layer")
    return value


def _mean_attention(layer: nn.MultiheadAttention, query: Tensor, key: Tensor) -> Tensor:
    """N×L×S: the distribution of torch's attention without masks, mean over heads."""
    if not layer.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    width = layer.embed_dim
    if layer.in_proj_weight is not None:
        weights = layer.in_proj_weight[:width], layer.in_proj_weight[width : 2 * width]
    else:
        weights = layer.q_proj_weight, layer.k_proj_weight
    bias = layer.in_proj_bias
    biases = (None, None) if bias is None else (bias[:width], bias[width : 2 * width])
    parts = zip((query, key), weights, biases, strict=True)
    shape = (layer.num_heads, layer.head_dim)
    q, k = (linear(x, weight, bias).unflatten(-1, shape).transpose(1, 2) for x, weight, bias in parts)
    return torch.softmax(q @ k.transpose(-2, -1) * layer.head_dim**-0.5, dim=-1).mean(1)
