"""Attention whose projections are layers: what replaces ``nn.MultiheadAttention`` once heads are removed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

__all__ = ["SplitAttention", "split"]


class SplitAttention(nn.Module):
    """Takes the calls of ``nn.MultiheadAttention``; its heads need not fill the width.

    ``query``, ``key``, ``value``: width → heads × size; ``out_proj``: heads × size → width.
    """

    in_proj_bias = None  # these two tell torch's fused encoder layer to call this module instead of reading its weights
    _qkv_same_embed_dim = False

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int,
        *,
        kdim: int,
        vdim: int,
        bias: bool,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, head_dim
        self.dropout, self.batch_first = dropout, batch_first
        self.query = nn.Linear(embed_dim, num_heads * head_dim, bias)
        self.key = nn.Linear(kdim, num_heads * head_dim, bias)
        self.value = nn.Linear(vdim, num_heads * head_dim, bias)
        self.out_proj = nn.Linear(num_heads * head_dim, embed_dim, bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Shapes as those of ``nn.MultiheadAttention``. A mask for each head (N·heads × L × S) is not taken."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        q, k, v = self._heads(self.query(query)), self._heads(self.key(key)), self._heads(self.value(value))
        mask = _mask(attn_mask, key_padding_mask, q.dtype)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
            mixed = dropout(weights, rate) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=rate)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), weights if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _heads(self, x: Tensor) -> Tensor:
        """N × L × (heads · size) → N × heads × L × size."""
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


def _mask(attention: Tensor | None, padding: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Both masks as one that is added to the scores: N × 1 × L × S, or L × S. True in a boolean mask shuts out."""
    parts = [None if attention is None else _added(attention, dtype)]
    if padding is not None:
        padding = padding.unsqueeze(0) if padding.dim() == 1 else padding
        parts.append(_added(padding, dtype)[:, None, None, :])
    given = [part for part in parts if part is not None]
    return None if not given else given[0] if len(given) == 1 else given[0] + given[1]


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, float("-inf"))


@torch.no_grad()
def split(layer: nn.MultiheadAttention) -> SplitAttention:
    """The same attention in separate layers. ValueError for options that they lack."""
    if layer.bias_k is not None or layer.add_zero_attn:
        raise ValueError("attention with 'add_bias_kv' or 'add_zero_attn' cannot be split")
    with torch.random.fork_rng(devices=[]):
        made = SplitAttention(
            layer.embed_dim,
            layer.num_heads,
            layer.head_dim,
            kdim=layer.kdim or layer.embed_dim,
            vdim=layer.vdim or layer.embed_dim,
            bias=layer.in_proj_bias is not None,
            dropout=layer.dropout,
            batch_first=layer.batch_first,
        )
    if layer.in_proj_weight is not None:
        weights = layer.in_proj_weight.chunk(3)
    else:
        weights = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
    parts = (made.query, made.key, made.value)
    for part, weight in zip(parts, weights, strict=True):
        part.weight.copy_(weight)
    if layer.in_proj_bias is not None:
        for part, bias in zip(parts, layer.in_proj_bias.chunk(3), strict=True):
            part.bias.copy_(bias)
    made.out_proj.load_state_dict(layer.out_proj.state_dict())
    return made.to(layer.out_proj.weight.dtype).train(layer.training)
