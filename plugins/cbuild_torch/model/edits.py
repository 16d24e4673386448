"""The structural edits that ``model.json`` may name, replayed in order on a fresh module before its weights are loaded.

| op | what it says |
|---|---|
| ``plain`` | weights that are computed from others become parameters: see :mod:`.plain` |
| ``resize`` | tensors take the shapes of the saved ones, and layers' size attributes follow |
| ``set`` ``module``, ``attribute``, ``value`` | a plain attribute that a layer has already gets another value |
| ``replace`` ``module``, ``layer`` | a layer, or an activation function, gives way to another: see :mod:`.layers` |
| ``config`` ``module``, ``attribute``, ``values`` | lists and counts of a module or its config: :mod:`.positions` |
| ``drop`` ``module``, ``children`` | members of a Sequential or ModuleList go, the others close up |
| ``split-attention`` ``module`` | an ``nn.MultiheadAttention`` gets separate layers: see :mod:`.attention` |
| ``tie`` ``modules`` | these have the parameters of the first of them, not their own; buffers stay their own |
| ``palette`` ``parameters`` | these are stored as palette and indices: see :mod:`.palette` |
| ``sparse`` ``parameters`` | zeros of these parameters mean something: training keeps them |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from .attention import split
from .layers import build, put
from .plain import make_plain
from .positions import configure

__all__ = ["attribute_edits", "drop", "replay", "resize", "tie"]

_T = TypeVar("_T", bound=nn.Module)
_PLAIN = (bool, int, float, str, type(None))


def replay(module: nn.Module, edits: tuple[Mapping[str, Any], ...]) -> None:
    """Apply every edit but the shapes, which :func:`resize` takes from the weights. ValueError for an unknown one."""
    for edit in edits:
        match edit:
            case {"op": "resize"} | {"op": "sparse"} | {"op": "palette"}:
                continue
            case {"op": "plain"}:
                make_plain(module)
            case {"op": "set", "module": str(path), "attribute": str(name), "value": value}:
                _set(module.get_submodule(path), name, value)
            case {"op": "replace", "module": str(path), "layer": dict(spec)}:
                put(module, path, build(spec))
            case {"op": "config", "module": str(path), "attribute": str(name), "values": dict(values)}:
                configure(module, path, name, values)
            case {"op": "drop", "module": str(path), "children": list(names)}:
                drop(module.get_submodule(path), names)
            case {"op": "split-attention", "module": str(path)}:
                put(module, path, split(_typed(module, path, nn.MultiheadAttention)))
            case {"op": "tie", "modules": list(names)}:
                tie(module, names)
            case _:
                raise ValueError(f"model.json names an edit that this version does not know: {dict(edit)}")


def drop(container: nn.Module, names: Iterable[str]) -> None:
    """Take members out of a sequence or list. Numbered members are renumbered, others keep their names."""
    gone = set(names)
    if type(container) not in (nn.Sequential, nn.ModuleList) or not gone <= set(dict(container.named_children())):
        raise ValueError(f"model.json drops {sorted(gone)} of a {type(container).__name__}, which has no such members")
    members = list(container.named_children())
    numbered = all(name == str(position) for position, (name, _) in enumerate(members))
    kept = [(name, member) for name, member in members if name not in gone]
    for name, _ in members:
        delattr(container, name)
    for position, (name, member) in enumerate(kept):
        container.add_module(str(position) if numbered else name, member)


def tie(module: nn.Module, names: Iterable[str]) -> None:
    """Give the modules the parameters of the first of them. ValueError where they have others by name."""
    first, *others = (module.get_submodule(name) for name in names)
    shared = dict(first.named_parameters(remove_duplicate=False))
    for other in others:
        if set(shared) != {name for name, _ in other.named_parameters(remove_duplicate=False)}:
            raise ValueError(f"model.json ties {list(names)}, whose parameters have other names")
        for path, parameter in shared.items():
            owner, _, name = path.rpartition(".")
            setattr(other.get_submodule(owner), name, parameter)


def _typed(module: nn.Module, path: str, kind: type[_T]) -> _T:
    layer = module.get_submodule(path)
    if not isinstance(layer, kind):
        raise ValueError(f"model.json edits '{path}', a {type(layer).__name__}, as a {kind.__name__}")
    return layer


def _set(layer: nn.Module, name: str, value: Any) -> None:
    """Only plain values, only over plain values: an artifact cannot give a module new behaviour."""
    value = tuple(value) if isinstance(value, list) else value
    if not _is_plain(value) or not _is_plain(vars(layer).get(name, layer)):
        raise ValueError(f"model.json sets '{name}' of a {type(layer).__name__}, which is not a plain attribute of it")
    setattr(layer, name, value)


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(isinstance(item, _PLAIN) for item in value))


def attribute_edits(fresh: nn.Module, edited: nn.Module) -> Iterator[dict[str, Any]]:
    """``set`` edits that give the layers of ``fresh`` the plain attributes of those of ``edited``."""
    layers = dict(edited.named_modules())
    for path, layer in fresh.named_modules():
        wanted = vars(layers[path])
        for name, value in sorted(vars(layer).items()):
            if name == "training" or name not in wanted or not _is_plain(value) or not _is_plain(wanted[name]):
                continue
            if wanted[name] != value:
                yield {"op": "set", "module": path, "attribute": name, "value": wanted[name]}


def resize(module: nn.Module, state: Mapping[str, Tensor], *, shapes: bool) -> None:
    """Give parameters and buffers the types of ``state``, and with ``shapes`` its shapes; size attributes follow.

    Tied parameters stay tied. Without ``shapes`` a tensor of another shape is left for the strict loading to refuse.
    """
    replaced: dict[int, nn.Parameter] = {}  # id of an old or new parameter → the new one
    kept: list[nn.Parameter] = []  # the old ones stay alive, so no id is used twice
    for path, layer in module.named_modules():
        prefix = f"{path}." if path else ""
        before = {name: tuple(value.shape) for name, value in layer.named_parameters(recurse=False)}
        for name, parameter in list(layer.named_parameters(recurse=False, remove_duplicate=False)):
            wanted = state.get(prefix + name)
            if id(parameter) not in replaced and wanted is not None and _differs(parameter, wanted, shapes):
                fresh = nn.Parameter(torch.empty_like(wanted), requires_grad=parameter.requires_grad)
                kept.append(parameter)
                replaced[id(parameter)] = replaced[id(fresh)] = fresh
            if id(parameter) in replaced:
                setattr(layer, name, replaced[id(parameter)])
        for name, buffer in list(layer.named_buffers(recurse=False)):
            wanted = state.get(prefix + name)
            if wanted is not None and _differs(buffer, wanted, shapes):
                setattr(layer, name, torch.empty_like(wanted))
        if shapes:
            _follow(layer, before)


def _differs(now: Tensor, wanted: Tensor, shapes: bool) -> bool:
    same = now.shape == wanted.shape
    return (not same and shapes) or (same and now.dtype != wanted.dtype)


def _follow(layer: nn.Module, before: Mapping[str, tuple[int, ...]]) -> None:
    """Set the size attributes of a layer of torch.nn from its tensors."""
    shape = {name: tuple(value.shape) for name, value in layer.named_parameters(recurse=False)}
    if shape == before and not isinstance(layer, _NormBase):
        return
    match layer:
        case _ConvNd():
            _follow_convolution(layer, shape["weight"])
        case nn.Linear():
            layer.out_features, layer.in_features = shape["weight"]
        case _NormBase():
            size = next((tuple(value.shape) for value in (layer.weight, layer.running_mean) if value is not None), None)
            layer.num_features = size[0] if size else layer.num_features
        case nn.LayerNorm() | nn.RMSNorm():
            layer.normalized_shape = shape["weight"]
        case nn.GroupNorm():
            layer.num_channels = shape["weight"][0]
        case nn.Embedding() | nn.EmbeddingBag():
            layer.num_embeddings, layer.embedding_dim = shape["weight"]
        case nn.PReLU():
            layer.num_parameters = shape["weight"][0]
        case nn.RNNBase():
            layer.input_size, layer.hidden_size = shape["weight_ih_l0"][1], shape["weight_hh_l0"][1]


def _follow_convolution(layer: _ConvNd, weight: tuple[int, ...]) -> None:
    """Weights are out × in/groups × …, or in × out/groups × … when transposed. A depthwise layer stays depthwise."""
    first, second = weight[:2]
    if layer.groups > 1 and layer.groups == layer.in_channels:
        multiplier = layer.out_channels // layer.in_channels
        layer.groups = first if layer.transposed else first // multiplier
    if layer.transposed:
        layer.in_channels, layer.out_channels = first, second * layer.groups
    else:
        layer.in_channels, layer.out_channels = second * layer.groups, first
