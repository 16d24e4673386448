"""The kind ``token-scores``: what a language model gave each token, some numbers instead of a row of its vocabulary.

::

    scores.json     {"tokens": "sha256 of the ids and windows", "count": 9999, "arrays": ["nll", "top", …],
                     "weights": "dequantized from …", where the source's, or the model's own, were}
    nll.npy         N float64: -ln p(token) under the model
    top.npy         N int32: the likeliest token
    source_nll.npy  N float64: as nll, of the source; this and the next two only where there is one
    kl.npy          N float64: Kullback-Leibler divergence of the model from the source, in nats
    same.npy        N bool: whether the likeliest token is the source's
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["TokenScores", "validate"]

_INDEX = "scores.json"
_TYPES = {"nll": "float64", "top": "int32", "source_nll": "float64", "kl": "float64", "same": "bool"}
_ALONE = ("nll", "top")


@dataclass(frozen=True, slots=True)
class TokenScores:
    """``tokens``: digest of the ids and windows. ``arrays``: by name, each of N numbers. ``weights``: what all numbers
    are relative to, where weights were read from a file of few bits."""

    tokens: str
    arrays: Mapping[str, np.ndarray]
    weights: str | None = None

    def write(self, directory: Path) -> None:
        for name, array in self.arrays.items():
            with (directory / f"{name}.npy").open("wb") as file:
                np.lib.format.write_array(file, array.astype(_TYPES[name]), version=(1, 0), allow_pickle=False)
        index = {"tokens": self.tokens, "count": len(self.arrays["nll"]), "arrays": list(self.arrays)}
        index |= {"weights": self.weights} if self.weights is not None else {}
        (directory / _INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> TokenScores:
        """ValueError if the files are not what :meth:`write` makes."""
        try:
            index = json.loads((directory / _INDEX).read_text(encoding="utf-8"))
            names, count, tokens = index["arrays"], index["count"], str(index["tokens"])
            weights = str(index["weights"]) if "weights" in index else None
            if tuple(names) not in (_ALONE, tuple(_TYPES)):
                raise ValueError(f"{_INDEX} lists {names}")
            arrays = {name: np.load(directory / f"{name}.npy", allow_pickle=False) for name in names}
        except (KeyError, TypeError, EOFError, ValueError) as error:
            raise ValueError(f"the token scores are damaged: {error}") from error
        for name, array in arrays.items():
            if array.shape != (count,) or array.dtype != _TYPES[name]:
                raise ValueError(f"{name}.npy is {array.dtype} {list(array.shape)}, not {_TYPES[name]} [{count}]")
        return cls(tokens, arrays, weights)


def validate(directory: Path) -> None:
    """ValueError unless the directory is an artifact of ``token-scores``."""
    TokenScores.read(directory)
