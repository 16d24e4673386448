"""The source ``images``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit import unlabelled
from msgspec.structs import replace
from PIL import Image

from compressbuild.api import Context, Rows, UserError

from ..batches import Batches, chosen
from ..scaling import scaled
from ..words import meant
from .params import Images
from .processor import completed

__all__ = ["images"]

_SUFFIXES = frozenset("png jpg jpeg bmp gif webp tif tiff ppm pgm pbm".split())  # noqa: SIM905
_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def images(ctx: Context, params: Images, rows: Rows) -> Batches:
    """The images of a folder, and the number of each one's directory."""
    folder = ctx.file(params.images)
    params = completed(params, ctx.file(params.processor) if params.processor is not None else None)
    if not folder.is_dir():
        raise UserError(f"'{params.images}' is not a folder", hint="'images:' names the folder that holds the images")
    files, labels = _classes(folder, params) if params.labels else (_images(folder.iterdir()), None)
    if not files:
        raise UserError(f"'{params.images}' has no images", hint=f"known suffixes: {', '.join(sorted(_SUFFIXES))}")
    if rows.seed is None and not rows.slices:
        rows = replace(rows, seed=0)

    def take(which: Sequence[int]) -> tuple[Any, np.ndarray]:
        pixels = np.stack([_pixels(files[row], params, folder) for row in which])
        if params.layout == "nchw":
            pixels = pixels.transpose(0, 3, 1, 2)
        array = np.ascontiguousarray(scaled(pixels, params, 1 if params.layout == "nchw" else 3, "the image"))
        inputs = array if params.input is None else {params.input: array}
        return inputs, labels[which] if labels is not None else unlabelled(len(which))

    def show(which: Sequence[int]) -> Sequence[np.ndarray]:
        return [_pixels(files[row], params, folder) for row in which]

    return Batches(chosen(rows, len(files), params.images), take, show)


def _classes(folder: Path, params: Images) -> tuple[list[Path], np.ndarray]:
    """Images, and the number of each one's class."""
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not names:
        raise UserError(
            f"'{params.images}' has no directories, one for each class", hint="without classes, say 'labels: false'"
        )
    for name in params.classes:
        if name not in names:
            raise UserError(f"'{params.images}' has no directory '{name}'", hint=meant(name, names, "directories"))
    if params.classes and (left := sorted(set(names) - set(params.classes))):
        raise UserError(f"'classes' does not name the directory '{left[0]}'", hint="name all of them, in order")
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(params.classes or names):
        found = _images((folder / name).rglob("*"))
        if not found:
            raise UserError(f"'{params.images}/{name}' has no images", hint="remove the directory, or put some there")
        files += found
        labels += [number] * len(found)
    return files, np.asarray(labels, np.int64)


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(each for each in paths if each.suffix[1:].lower() in _SUFFIXES and each.is_file())


def _pixels(path: Path, params: Images, folder: Path) -> np.ndarray:
    """H×W×C, as bytes."""
    assert params.interpolation is not None
    assert params.size is not None
    height, width = params.size if isinstance(params.size, list) else (params.size, params.size)
    method = _METHODS[params.interpolation]
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB" if params.channels == "rgb" else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = f"'{params.images}/{path.relative_to(folder)}' cannot be read as an image"
        raise UserError(f"{said}: {error}", hint="remove it, or write it again") from error
    if not params.crop:
        image = image.resize((width, height), method)
    else:
        halved = int if params.processor is not None else round  # as Hugging Face, or as torchvision
        image = _cropped(image, height, width, params.resize, method, lambda room: halved(room / 2))
    array = np.asarray(image)
    return array if array.ndim == 3 else array[:, :, None]


def _cropped(
    image: Image.Image,
    height: int,
    width: int,
    shorter: int | None,
    method: Image.Resampling,
    halved: Callable[[int], int],
) -> Image.Image:
    """The middle of the image, after its shorter side was made ``shorter``, or as small as covers the size. ``halved``:
    the part of what is cut off that lies before."""
    if shorter is None:
        factor = max(height / image.height, width / image.width)
        size = (max(width, round(image.width * factor)), max(height, round(image.height * factor)))
    else:
        side = min(image.size)
        size = tuple(shorter if each == side else int(shorter * each / side) for each in image.size)  # as torchvision
    image = image.resize(size, method)
    left, top = halved(image.width - width), halved(image.height - height)
    return image.crop((left, top, left + width, top + height))  # beyond the edges: black
