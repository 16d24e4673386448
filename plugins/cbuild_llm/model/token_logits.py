"""The kind ``token-logits``: what a teacher expects after each token, as its likeliest tokens and the rest.

::

    logits.json     {"tokens": digest of the token ids, "packing": "stream", "temperature": 1.0, "rows": …, "top": 64}
    top.npy         R×K int32       the K likeliest tokens of each row, the likeliest first
    logs.npy        R×K float32     ln of their probabilities at the temperature
    rest.npy        R   float32     ln of what is left for all others; -inf if nothing is

A row is a predicted token, in the order of the windows of the ids. They are R · (8·K + 4) bytes, and not R · 4 · V.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from compressbuild.api import Context, UserError

from .packing import Packing
from .token_ids import TokenIds

__all__ = ["TokenLogits", "Writer", "facts", "read_token_logits", "validate"]

_INDEX = "logits.json"
_ARRAYS = {"top": np.dtype("<i4"), "logs": np.dtype("<f4"), "rest": np.dtype("<f4")}
_WHOLE = 1e-3  # by how much the shares of a row may miss 1


@dataclass(frozen=True, slots=True)
class TokenLogits:
    """``top``, ``logs``: R×K; ``rest``: R; read from the disk as they are needed."""

    tokens: str
    packing: Packing
    temperature: float
    top: np.ndarray
    logs: np.ndarray
    rest: np.ndarray

    @classmethod
    def read(cls, directory: Path) -> TokenLogits:
        """ValueError if the files are not what :class:`Writer` makes."""
        try:
            index = json.loads((directory / _INDEX).read_text(encoding="utf-8"))
            arrays = {name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
            rows, top = int(index["rows"]), int(index["top"])
            found = cls(str(index["tokens"]), index["packing"], float(index["temperature"]), **arrays)
        except (KeyError, TypeError, EOFError, ValueError) as error:
            raise ValueError(f"the teacher's logits are damaged: {error!r}") from error
        wanted = {"top": (rows, top), "logs": (rows, top), "rest": (rows,)}
        for name, array in arrays.items():
            if array.shape != wanted[name] or array.dtype != _ARRAYS[name]:
                raise ValueError(f"{name}.npy is not what {_INDEX} says")
        if found.packing not in get_args(Packing) or not found.temperature > 0:
            raise ValueError(f"{_INDEX} has a packing or a temperature that there is not")
        return found


class Writer:
    """Writes rows as they come; no more than those given is in memory."""

    def __init__(self, directory: Path, tokens: str, packing: Packing, temperature: float, rows: int, top: int) -> None:
        self._directory, self._at = directory, 0
        self._index = {"tokens": tokens, "packing": packing, "temperature": temperature, "rows": rows, "top": top}
        shapes: dict[str, tuple[int, ...]] = {"top": (rows, top), "logs": (rows, top), "rest": (rows,)}
        self._arrays = {
            name: np.lib.format.open_memmap(directory / f"{name}.npy", "w+", kind, shapes[name], version=(1, 0))
            for name, kind in _ARRAYS.items()
        }

    def add(self, top: np.ndarray, logs: np.ndarray, rest: np.ndarray) -> None:
        """The next rows."""
        end = self._at + len(top)
        for name, rows in (("top", top), ("logs", logs), ("rest", rest)):
            self._arrays[name][self._at : end] = rows
        self._at = end

    def close(self) -> None:
        if self._at != self._index["rows"]:
            raise ValueError(f"{self._at} rows were written of {self._index['rows']}")
        for array in self._arrays.values():
            array.flush()
        self._arrays.clear()
        (self._directory / _INDEX).write_text(json.dumps(self._index, indent=1, sort_keys=True) + "\n")


def validate(directory: Path) -> None:
    """ValueError unless the directory is an artifact of ``token-logits``. Reads all rows, some at a time."""
    found = TokenLogits.read(directory)
    for at in range(0, len(found.rest), 4096):
        logs, rest = found.logs[at : at + 4096].astype(np.float64), found.rest[at : at + 4096].astype(np.float64)
        whole = np.exp(logs).sum(1) + np.exp(rest)
        if not (np.abs(whole - 1) < _WHOLE).all() or found.top[at : at + 4096].min(initial=0) < 0:
            raise ValueError("rows of the teacher's logits are no distribution")
        if not (np.diff(logs, axis=1) <= 0).all():
            raise ValueError("rows of the teacher's logits are not in order")


def read_token_logits(ctx: Context, name: str, tokens: TokenIds) -> TokenLogits:
    """What a parameter names. UserError if it is of another kind, or of other token ids."""
    if ctx.kind(name) != "token-logits":
        raise UserError(
            f"'{name}' is a {ctx.kind(name)}, where the logits of a teacher are needed",
            hint="name a target whose last step is 'record.logits'",
        )
    found = TokenLogits.read(ctx.artifact(name))
    if found.tokens != tokens.digest:
        raise UserError(
            f"'{name}' was recorded on other token ids, or on other windows of them",
            hint="name the same 'tokens' in 'record.logits' and in 'distill.llm'",
        )
    return found


def facts(found: TokenLogits) -> dict[str, Any]:
    """How the teacher was recorded."""
    return {"temperature": found.temperature, "top": found.top.shape[1], "packing": found.packing}
