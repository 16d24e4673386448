"""What samples of a dataset are, for people: small pictures, or text.

What a loader or a source returns may say so itself, with a method ``preview(numbers)`` that gives for each of these
samples text, an array that is a picture (H×W, H×W×C or C×H×W, C being 1 or 3), or None. Of other datasets the inputs
are shown that have the shape of a picture.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from compressbuild.api import Context, Previewing, UserError

__all__ = ["pictures", "png", "preview"]

_SIDE = 96  # pixels of the longer side
_LARGEST = 24_000  # bytes of a PNG file
_TEXT = 600  # characters
_LEAST = 4  # pixels of a side: what is narrower is no picture


def preview(ctx: Context, params: Previewing) -> dict[str, Any]:
    """The fields of a Preview. A technique that answers a dataset names it in its record."""
    dataset = ctx.dataset(params.data)
    numbers = params.samples
    own = getattr(dataset, "preview", None)
    values = list(own(list(numbers))) if callable(own) else _read(dataset, numbers)
    if len(values) != len(numbers):
        raise UserError(
            f"'preview' of dataset '{params.data}' gave {len(values)} values for {len(numbers)} samples",
            hint="it returns text, an array or None for each number",
        )
    samples = [{"sample": number, **_shown(value)} for number, value in zip(numbers, values, strict=True)]
    return {"value": sum(len(sample) > 1 for sample in samples), "samples": samples}


def pictures(inputs: Any) -> list[np.ndarray | None]:
    """For each sample of a batch's ``inputs`` the first that has the shape of a picture, N×C×H×W or N×H×W×C."""
    if isinstance(inputs, Mapping):
        values = list(inputs.values())
    elif isinstance(inputs, tuple | list):
        values = list(inputs)
    else:
        values = [inputs]
    arrays = [np.asarray(value) for value in values]
    found = next((array for array in arrays if array.ndim == 4 and _is_picture(array.shape[1:])), None)
    return list(found) if found is not None else [None] * (len(arrays[0]) if arrays else 0)


def png(array: np.ndarray) -> bytes:
    """A PNG file of a picture H×W, H×W×C or C×H×W with 1 or 3 channels. Bytes are kept; other numbers are stretched
    between their least and their largest, or from 0 to 1 where they lie there. At most 96 pixels a side, 24 kB."""
    pixels = _bytes(_channels_last(array))
    step = max(1, -(-max(pixels.shape[:2]) // _SIDE))
    while True:
        data = _encoded(_smaller(pixels, step))
        if len(data) <= _LARGEST:
            return data
        step += 1


def _read(dataset: Iterable[Any], numbers: Sequence[int]) -> list[Any]:
    """The pictures of the samples, which are counted in the order in which the batches have them."""
    wanted, last = set(numbers), max(numbers, default=-1)
    found: dict[int, Any] = {}
    count = 0
    for inputs, labels in dataset:
        size = len(labels)
        if wanted & set(range(count, count + size)):
            found.update((number, each) for number, each in enumerate(pictures(inputs), count) if number in wanted)
        count += size
        if count > last:
            break
    return [found.get(number) for number in numbers]


def _shown(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        return {"text": text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"} if text.strip() else {}
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not (array.ndim == 2 or (array.ndim == 3 and _is_picture(array.shape))):
        return {}
    return {"image": base64.b64encode(png(array)).decode()} if min(_channels_last(array).shape[:2]) >= _LEAST else {}


def _is_picture(shape: Sequence[int]) -> bool:
    return any(
        shape[at] in (1, 3) and min(side for i, side in enumerate(shape) if i != at) >= _LEAST
        for at in (0, len(shape) - 1)
    )


def _channels_last(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array[:, :, None]
    first = array.shape[0] in (1, 3) and min(array.shape[1:]) >= _LEAST
    return array.transpose(1, 2, 0) if first else array


def _bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        values = (values - low) / ((high - low) or 1.0)
    return np.rint(255 * values).astype(np.uint8)


def _smaller(pixels: np.ndarray, step: int) -> np.ndarray:
    """Means of blocks of ``step`` × ``step`` pixels."""
    if step == 1:
        return pixels
    height, width = (max(1, side // step) for side in pixels.shape[:2])
    whole = pixels[: height * step, : width * step].astype(np.float64)
    rows, columns = (-(-side // count) for side, count in zip(whole.shape[:2], (height, width), strict=True))
    blocks = whole.reshape(height, rows, width, columns, pixels.shape[2])
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _encoded(pixels: np.ndarray) -> bytes:
    """PNG (ISO/IEC 15948): 8 bits a channel, grey or RGB, each row less the pixel before (filter 1)."""
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width, channels)
    before = np.concatenate([np.zeros((height, 1, channels), np.uint8), rows[:, :-1]], axis=1)
    lines = np.concatenate([np.ones((height, 1), np.uint8), (rows - before).reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
