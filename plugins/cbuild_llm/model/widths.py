"""Where the widths of a language model of Llama's form lie: the axes of each weight, and the width that each has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from compressbuild.api import UserError

from .stack import LayerStack

__all__ = ["Axis", "Kind", "Widths", "axes_of", "read_widths"]

Kind = Literal["hidden", "intermediate", "heads", "kv_heads"]
_LINEAR: dict[str, tuple[Kind, Kind]] = {  # rows, columns
    "q_proj": ("heads", "hidden"),
    "k_proj": ("kv_heads", "hidden"),
    "v_proj": ("kv_heads", "hidden"),
    "o_proj": ("hidden", "heads"),
    "gate_proj": ("intermediate", "hidden"),
    "up_proj": ("intermediate", "hidden"),
    "down_proj": ("hidden", "intermediate"),
}


@dataclass(frozen=True, slots=True)
class Widths:
    """``heads``: of queries; ``kv_heads``: of keys and values; ``head_dim``: numbers of a head."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def group(self) -> int:
        """Query heads that share keys and values."""
        return self.heads // self.kv_heads

    def size(self, kind: Kind) -> int:
        """Numbers along an axis of this kind."""
        return int(getattr(self, kind)) * (self.head_dim if kind in ("heads", "kv_heads") else 1)

    def config(self) -> dict[str, int]:
        """As ``config.json`` has them."""
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
        }


@dataclass(frozen=True, slots=True)
class Axis:
    """``layer``: of the decoder; None for an axis of all."""

    number: int
    kind: Kind
    layer: int | None


def read_widths(config: Any) -> Widths:
    """UserError for a configuration that does not say them."""
    names = ("hidden_size", "intermediate_size", "num_attention_heads")
    missing = next((name for name in names if not isinstance(getattr(config, name, None), int)), None)
    if missing is not None:
        raise UserError(f"the configuration has no '{missing}' that is one number", hint=_HINT)
    hidden, intermediate, heads = (getattr(config, name) for name in names)
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    return Widths(hidden, intermediate, heads, kv_heads, head_dim)


def axes_of(model: nn.Module, stack: LayerStack, widths: Widths) -> dict[str, tuple[Axis, ...]]:
    """Parameter → its axes that have a width; none for one of a head alone, as the norms of queries and keys are.

    UserError that names a parameter that is not of Llama's form.
    """
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        axes = _axes(name, parameter.dim(), stack.path, widths, tuple(parameter.shape))
        shape = tuple(parameter.shape)
        if axes is None or any(widths.size(axis.kind) != shape[axis.number] for axis in axes):
            raise UserError(
                f"the weight '{name}' of {' × '.join(map(str, shape))} is not known in a model of Llama's form",
                hint=_HINT,
            )
        found[name] = axes
    _complete(found, stack)
    return found


_HINT = "width is pruned in models as Llama, Qwen and Mistral, with q_proj … down_proj and RMSNorm; 'prune.llm-layers' "
_HINT += "takes others"


def _axes(name: str, dims: int, path: str, widths: Widths, shape: tuple[int, ...]) -> tuple[Axis, ...] | None:
    match = re.fullmatch(rf"{re.escape(path)}\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        outer = name.rpartition(".")[0].rpartition(".")[2]
        if outer in ("embed_tokens", "lm_head") and dims == 2:
            return (Axis(1, "hidden", None),)
        return (Axis(0, "hidden", None),) if outer == "norm" and name.endswith(".weight") and dims == 1 else None
    layer, leaf, part = int(match[1]), match[2].rpartition(".")[2], match[3]
    if leaf in _LINEAR:
        kinds = _LINEAR[leaf] if part == "weight" else _LINEAR[leaf][:1]
        return (
            tuple(Axis(number, kind, None if kind == "hidden" else layer) for number, kind in enumerate(kinds))
            if dims == len(kinds)
            else None
        )
    if leaf in ("q_norm", "k_norm"):
        return () if shape == (widths.head_dim,) and part == "weight" else None
    return (Axis(0, "hidden", None),) if leaf.endswith("norm") and part == "weight" and dims == 1 else None


def _complete(found: Mapping[str, tuple[Axis, ...]], stack: LayerStack) -> None:
    for index in range(len(stack)):
        leaves = {name.split(".")[-2] for name in found if name.startswith(f"{stack.path}.{index}.")}
        if lost := sorted(_LINEAR.keys() - leaves):
            raise UserError(f"'{stack.path}.{index}' has no '{lost[0]}'", hint=_HINT)
