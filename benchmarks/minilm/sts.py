"""How well the cosine of two embeddings ranks pairs of sentences, as STS and MTEB publish it; and a loss."""

import numpy as np
import torch
from data import SETS, TAUGHT
from scipy.stats import spearmanr
from torch import Tensor


def spearman(outputs: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, object]:
    """Spearman's correlation of cosine and score over all pairs, for each set, and for the sets of no training text.

    ``outputs``: one array of embeddings N×D. ``labels``: as :func:`data.pairs` gives them.
    """
    (embeddings,) = outputs.values()
    order = np.argsort(labels[:, 0], kind="stable")  # the two sentences of a pair come together
    number, where, scores = labels[order][::2].T
    if not np.array_equal(number, labels[order][1::2, 0]) or len(np.unique(number)) != len(number):
        raise ValueError("every pair must come with both of its sentences")
    unit = embeddings[order] / np.linalg.norm(embeddings[order], axis=1, keepdims=True)
    cosines = (unit[::2] * unit[1::2]).sum(1)
    slices = {name: where == code for code, name in enumerate(SETS)}
    slices["unseen"] = ~np.isin(where, [SETS.index(name) for name in TAUGHT])
    rows = {name: {"value": float(spearmanr(cosines[s], scores[s])[0])} for name, s in slices.items() if s.any()}
    return {"value": float(spearmanr(cosines, scores)[0]), "pairs": len(scores), "per_class": rows}


def uniformity(embeddings: Tensor, labels: Tensor) -> Tensor:
    """How close together the embeddings of different sentences are: log mean exp(−2‖x − y‖²) of unit vectors.

    Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity", 2020. A loss
    without labels, to tell which heads shape the embeddings.
    """
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    return torch.pdist(unit).square().mul(-2).exp().mean().log()
