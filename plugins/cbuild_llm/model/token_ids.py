"""The kind ``token-ids``: the ids that models are measured on, with the windows in which they see them.

::

    tokens.json     {"count": 10000, "context": 512, "stride": 256, "vocabulary": 49152, "sha256": "…"},
                    and "end", where a token ends each document
    ids.npy         N int32
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from compressbuild.api import Context, UserError

__all__ = ["TokenIds", "Window", "read_token_ids", "validate"]

_INDEX, _IDS = "tokens.json", "ids.npy"


@dataclass(frozen=True, slots=True)
class Window:
    """``ids[start:end]`` is what the model sees; of these, the ids from ``first`` on are predicted."""

    start: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenIds:
    """``ids``: N int32. ``vocabulary``: tokens that the tokenizer knows. ``end``: the token after each document, if
    there is one."""

    ids: np.ndarray
    context: int
    stride: int
    vocabulary: int
    end: int | None = None

    def windows(self) -> Iterator[Window]:
        """Sliding windows, as transformers documents for the perplexity of models of fixed length.

        Each id is predicted once: in the first window that it lies in, with all ids of that window before it as
        context. The very first has none, and is not predicted; nor is the first of any window where they do not
        overlap (`stride` equal to `context`).
        """
        first = 1
        for start in range(0, len(self.ids), self.stride):
            end = min(start + self.context, len(self.ids))
            first = max(first, start + 1)
            if first < end:
                yield Window(start, first, end)
            first = end
            if end == len(self.ids):
                return

    @property
    def digest(self) -> str:
        """Of the ids and the windows: answers to equal digests can be compared."""
        return sha256(f"{self.context},{self.stride};".encode() + self.ids.astype("<i4").tobytes()).hexdigest()

    def write(self, directory: Path) -> None:
        with (directory / _IDS).open("wb") as file:
            np.lib.format.write_array(file, self.ids.astype(np.int32), version=(1, 0), allow_pickle=False)
        index = {
            "count": len(self.ids),
            "context": self.context,
            "stride": self.stride,
            "vocabulary": self.vocabulary,
            "sha256": self.digest,
            **({} if self.end is None else {"end": self.end}),
        }
        (directory / _INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> TokenIds:
        """ValueError if the files are not what :meth:`write` makes."""
        try:
            index = json.loads((directory / _INDEX).read_text(encoding="utf-8"))
            ids = np.load(directory / _IDS, allow_pickle=False)
            end = int(index["end"]) if "end" in index else None
            found = cls(ids, int(index["context"]), int(index["stride"]), int(index["vocabulary"]), end)
            count, said = index["count"], index["sha256"]
        except (KeyError, TypeError, EOFError, ValueError) as error:
            raise ValueError(f"the token ids are damaged: {error!r}") from error
        if ids.ndim != 1 or ids.dtype != np.int32 or len(ids) != count or found.stride < 1 or found.digest != said:
            raise ValueError(f"{_IDS} is not what {_INDEX} says")
        if len(ids) and not 0 <= ids.min() <= ids.max() < found.vocabulary:
            raise ValueError(f"{_IDS} has ids beyond the {found.vocabulary} tokens of the tokenizer")
        if found.end is not None and not 0 <= found.end < found.vocabulary:
            raise ValueError(f"the token that ends a document, {found.end}, is none of {found.vocabulary}")
        return found


def validate(directory: Path) -> None:
    """ValueError unless the directory is an artifact of ``token-ids``."""
    TokenIds.read(directory)


def read_token_ids(ctx: Context, name: str) -> TokenIds:
    """The token ids that a parameter names. UserError if that is an artifact of another kind."""
    if ctx.kind(name) != "token-ids":
        raise UserError(
            f"'{name}' is a {ctx.kind(name)}, where token ids are needed",
            hint="name a target whose last step is 'tokenize.text'",
        )
    return TokenIds.read(ctx.artifact(name))
