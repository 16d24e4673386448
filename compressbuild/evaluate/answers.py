"""What two models answered to the samples on which they differ, from the predictions that their metric read."""

from __future__ import annotations

import ast
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from ..digest import Digest, bytes_digest, read_regular
from ..store import Store

__all__ = ["Flip", "flips"]

_CODES = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I"}


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """``label``: of the sample; ``first`` and ``second``: the likeliest class to each model."""

    sample: int
    label: int
    first: int
    second: int


def flips(
    store: Store, first: Digest, second: Digest, samples: Sequence[int | str], n: int, output: str | None
) -> tuple[Flip, ...]:
    """The answers to ``samples`` of two artifacts of the kind ``predictions``; none where an answer is not one class of
    a sample (a sequence, say), or where labels are left out, so that ``n`` are not all there are."""
    found = [_scores(store, digest, output) for digest in (first, second)]
    labels = _array(store, first, "labels.npy")
    if labels is None or labels.shape != (n,) or any(f is None or len(f.shape) != 2 or f.shape[0] != n for f in found):
        return ()
    a, b = (f for f in found if f is not None)
    return tuple(
        Flip(sample=i, label=int(labels.row(i)[0]), first=_likeliest(a.row(i)), second=_likeliest(b.row(i)))
        for i in samples
        if isinstance(i, int)
    )


def _likeliest(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


class _Array:
    """An array in NumPy's file format (NEP 1), read row by row. ValueError for what it cannot hold."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x93NUMPY":
            raise ValueError("not a .npy file")
        size, start = (
            (struct.unpack_from("<H", data, 8)[0], 10) if data[6] == 1 else (*struct.unpack_from("<I", data, 8), 12)
        )
        header = ast.literal_eval(data[start : start + size].decode("latin-1"))
        self.shape: tuple[int, ...] = header["shape"]
        order, code = header["descr"][0], _CODES.get(header["descr"][1:])
        if code is None or order == ">" or header["fortran_order"]:
            raise ValueError(f"an array of {header['descr']} is not read")
        self._code, self._data, self._start = code, data, start + size

    def row(self, index: int) -> tuple[Any, ...]:
        width = 1
        for size in self.shape[1:]:
            width *= size
        form = f"<{width}{self._code}"
        return struct.unpack_from(form, self._data, self._start + index * struct.calcsize(form))


def _scores(store: Store, predictions: Digest, output: str | None) -> _Array | None:
    """The output that top-1 uses: the one named, or else ``logits``, or else the first."""
    data = _bytes(store, predictions, "predictions.json")
    if data is None:
        return None
    files = {row["name"]: row["file"] for row in msgspec.json.decode(data)["outputs"]}
    chosen = next((name for name in (output, "logits", *files) if name in files), None)
    return _array(store, predictions, files[chosen]) if chosen is not None else None


def _array(store: Store, tree: Digest, path: str) -> _Array | None:
    data = _bytes(store, tree, path)
    try:
        return _Array(data) if data is not None else None
    except ValueError:
        return None


def _bytes(store: Store, tree: Digest, path: str) -> bytes | None:
    """None if it is not there, or not what its digest says."""
    file = next((f for f in store.cas.read_tree(tree).files if f.path == path), None)
    if file is None:
        return None
    data = read_regular(store.dir.object(file.digest))
    return data if bytes_digest(data) == file.digest else None
