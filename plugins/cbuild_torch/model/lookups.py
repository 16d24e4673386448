"""Which integer inputs of a module index a table, and how many rows that table has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressbuild.api import ModelInput

from .calling import caller

__all__ = ["table_rows"]

_ATEN = torch.ops.aten
_BAGS = (_ATEN._embedding_bag, _ATEN._embedding_bag_forward_only)
# What hands ids on as they are.
_SAME = frozenset(
    f"aten::{name}"
    for name in [
        "_reshape_alias",
        "_to_copy",
        "_unsafe_view",
        "alias",
        "clone",
        "detach",
        "expand",
        "permute",
        "reshape",
        "select",
        "slice",
        "split",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
    ]
)


def table_rows(module: nn.Module, inputs: Iterable[ModelInput], feeds: Mapping[str, Tensor]) -> dict[str, int]:
    """Input name → rows of the smallest table that it indexes, as seen in one run on ``feeds``. Ids that are computed
    with first are not followed."""
    inputs = tuple(inputs)
    seen = _Lookups(feeds)
    if not any(_whole(value) for value in feeds.values()):
        return {}
    with torch.no_grad(), seen:
        caller(module, inputs)(dict(feeds))
    return seen.rows


def _whole(value: Any) -> bool:
    return isinstance(value, Tensor) and not value.is_floating_point() and value.dtype != torch.bool


class _Lookups(TorchDispatchMode):
    def __init__(self, feeds: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.rows: dict[str, int] = {}
        self._origin = {id(value): name for name, value in feeds.items() if _whole(value)}
        self._kept: list[Any] = list(feeds.values())  # an id is a tensor's own only while the tensor lives

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet is _ATEN.embedding or packet in _BAGS:
            self._indexes(args[1], args[0].shape[0])
        elif packet is _ATEN.index_select:
            self._indexes(args[2], args[0].shape[args[1]])
        elif packet is _ATEN.index:
            for axis, indices in enumerate(args[1]):
                self._indexes(indices, args[0].shape[axis])
        elif func._schema.name in _SAME and args and id(args[0]) in self._origin:
            for value in result if isinstance(result, list | tuple) else (result,):
                self._origin[id(value)] = self._origin[id(args[0])]
                self._kept.append(value)
        return result

    def _indexes(self, indices: Any, rows: int) -> None:
        name = self._origin.get(id(indices))
        if name is not None:
            self.rows[name] = min(rows, self.rows.get(name, rows))
