"""Finding attention layers by their parts, and taking heads out of those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .attention import split
from .layers import put
from .structure import EditedModel

__all__ = ["HeadLayer", "attention_layers", "head_layers", "unbundle"]

_INPUTS = (
    ("query", "key", "value"),
    ("q_lin", "k_lin", "v_lin"),
    ("q_proj", "k_proj", "v_proj"),
    ("wq", "wk", "wv"),
)
_BUNDLES = (("qkv",), ("qkv_proj",), ("query_key_value",), ("Wqkv",), ("c_attn",), ("in_proj_qkv",))
_SHORT = (("q", "k", "v"), ("to_q", "to_k", "to_v"), ("q", "kv"), ("to_q", "to_kv"), ("to_qkv",))
_OUTPUTS = ("out_proj", "out_lin", "o_proj", "out", "wo")  # a child of the attention layer
_MORE_OUTPUTS = (*_OUTPUTS, "o", "Wo", "to_out", "proj", "dense", "c_proj")
_OUTPUT_BESIDE = "output.dense"  # BERT: attention.self and attention.output.dense
_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_KEY_COUNTS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "kv_heads")
_SIZES = ("head_dim", "attention_head_size", "head_size")
_WIDTHS = ("all_head_size",)


@dataclass(frozen=True, slots=True)
class HeadLayer:
    """``inputs``: query, key and value, whose output rows are heads × size; ``output``: the layer that takes those of
    the queries as columns. ``count``: heads of key and value, each of ``size``; ``queries``: how many share one, and go
    or stay with it."""

    path: str
    layer: nn.Module
    inputs: tuple[nn.Linear, ...]
    output: nn.Linear
    count: int
    size: int
    queries: int = 1

    @property
    def width(self) -> int:
        """Of what one head's queries give."""
        return self.queries * self.size

    @torch.no_grad()
    def norms(self) -> Tensor:
        """L2 norm of each head's weights."""
        total = self.output.weight.unflatten(1, (self.count, self.width)).square().sum((0, 2))
        for part in self.inputs:
            total = total + part.weight.unflatten(0, (self.count, -1)).square().sum((1, 2))
        return total.sqrt()

    @torch.no_grad()
    def keep(self, edited: EditedModel, heads: list[int]) -> None:
        """Take the other heads out of the tensors, and say so in the layer's attributes."""
        for part in self.inputs:
            each = part.out_features // self.count
            rows = torch.cat([torch.arange(head * each, (head + 1) * each) for head in heads])
            part.weight = nn.Parameter(part.weight[rows].clone(), part.weight.requires_grad)
            if part.bias is not None:
                part.bias = nn.Parameter(part.bias[rows].clone(), part.bias.requires_grad)
            part.out_features = len(rows)
        output, each = self.output, self.width
        columns = torch.cat([torch.arange(head * each, (head + 1) * each) for head in heads])
        output.weight = nn.Parameter(output.weight[:, columns].clone(), output.weight.requires_grad)
        output.in_features = len(columns)
        counts = (_COUNTS, len(heads) * self.queries), (_KEY_COUNTS, len(heads))
        for names, value in (*counts, (_WIDTHS, len(columns))):
            for name in names:
                if isinstance(vars(self.layer).get(name), int):
                    edited.set(self.path, name, value)


def head_layers(module: nn.Module) -> dict[str, HeadLayer]:
    """Name → attention layer made of linear layers, in the module's order; such as those of BERT, ViT, DistilBERT."""
    return {path: found for path, layer in module.named_modules() for found in _head_layer(module, path, layer)}


def attention_layers(module: nn.Module) -> dict[str, tuple[nn.Module, ...]]:
    """Name → projections of every attention layer that is known by the names of its parts, also where one layer makes
    all three, so that :func:`head_layers` does not have it."""
    found: dict[str, tuple[nn.Module, ...]] = {}
    for path, layer in module.named_modules():
        children = dict(layer.named_children())
        inputs = next((names for names in (*_INPUTS, *_BUNDLES, *_SHORT) if set(names) <= set(children)), None)
        if inputs is None:
            continue
        outputs = [children[name] for name in _MORE_OUTPUTS if name in children] or [_beside(module, path)]
        projections = [*(children[name] for name in inputs), *outputs]
        parts = (part for child in projections if child is not None for part in child.modules())
        found[path] = tuple(part for part in parts if isinstance(part, nn.Linear | _ConvNd))
    return found


def _beside(module: nn.Module, path: str) -> nn.Module | None:
    parent = path.rpartition(".")[0]
    return dict(module.named_modules()).get(f"{parent}.{_OUTPUT_BESIDE}" if parent else _OUTPUT_BESIDE)


def _head_layer(module: nn.Module, path: str, layer: nn.Module) -> Iterator[HeadLayer]:
    children = dict(layer.named_children())
    inputs = next((names for names in _INPUTS if all(type(children.get(name)) is nn.Linear for name in names)), None)
    if inputs is None:
        return
    parts = tuple(children[name] for name in inputs)
    output = next((children[name] for name in _OUTPUTS if name in children), None) or _beside(module, path)
    width, *others = (part.out_features for part in parts)
    queries = _count(layer, width)
    if type(output) is not nn.Linear or output.in_features != width or not queries or width % queries:
        return
    size = width // queries
    heads = others[0] // size
    if others[0] == others[1] == heads * size and heads and queries % heads == 0:
        yield HeadLayer(path, layer, parts, output, heads, size, queries // heads)


def _count(layer: nn.Module, width: int) -> int:
    """Heads of an attention layer, as it says itself, or as many as its head size goes into its width."""
    own = vars(layer)
    count = next((value for name in _COUNTS if isinstance(value := own.get(name), int)), 0)
    size = next((value for name in _SIZES if isinstance(value := own.get(name), int) and value > 0), 0)
    return count or (width // size if size and width % size == 0 else 0)


def unbundle(edited: EditedModel, names: Iterable[str], sparse: Iterable[str]) -> None:
    """Give every ``nn.MultiheadAttention`` of ``names`` separate layers. ``sparse``: parameters whose zeros count."""
    known, still = set(sparse), []
    for path in names:
        layer = edited.module.get_submodule(path)
        if isinstance(layer, nn.MultiheadAttention):
            edited.edits.append({"op": "split-attention", "module": path})
            put(edited.module, path, split(layer))
            if f"{path}.in_proj_weight" in known:
                still.extend(f"{path}.{part}.weight" for part in ("query", "key", "value"))
    if still:
        edited.edits.append({"op": "sparse", "parameters": sorted(still)})
    for path, encoder in edited.module.named_modules():
        if isinstance(encoder, nn.TransformerEncoder):
            edited.set(path, "use_nested_tensor", value=False)  # that path reads the first layer's weights
