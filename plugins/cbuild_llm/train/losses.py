"""Losses of language models, summed over rows.

The teacher's: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531, T²·KL of
the softened distributions. Of a large vocabulary only the likeliest tokens are known; the others count together as one.
Sums of the two distributions' others enter, so the loss is a lower bound of that over all tokens, and equal to it where
all are kept. To scale the kept ones up to 1 instead teaches too sharp a distribution (Anshumann et al., "Sparse Logit
Sampling", 2025, arXiv:2503.16870).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["next_token", "taught"]


def next_token(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of -ln p(token). ``logits``: R×V; ``wanted``: R int64."""
    return nn.functional.cross_entropy(logits, wanted, reduction="sum")


def taught(logits: Tensor, top: Tensor, logs: Tensor, rest: Tensor, temperature: float) -> Tensor:
    """Sum over rows of T²·KL(teacher ‖ student), with all tokens but the teacher's K likeliest as one.

    ``logits``: R×V, the student's; ``top``: R×K int64; ``logs``: R×K, ln of the teacher's shares; ``rest``: R, ln of
    its share of all others.
    """
    scaled = logits / temperature
    whole = scaled.logsumexp(1, keepdim=True)
    total = (logs.exp() * (logs - (scaled.gather(1, top) - whole))).sum()
    if top.shape[1] < logits.shape[1]:
        others = scaled.scatter(1, top, -torch.inf).logsumexp(1) - whole[:, 0]
        share = rest.exp()
        total = total + torch.where(share > 0, share * (rest - others), torch.zeros_like(rest)).sum()
    return temperature**2 * total
