"""Keys of a dataset that is a folder of images."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import FileRef, Meta

from ..params import Scaled

__all__ = ["Images"]


class Images(Scaled, kw_only=True):
    """Images in a folder, a class for each directory in it.

    Each image is resized, cropped in its middle to `size`, and scaled. Rows come in a drawn order, always the same,
    because a folder lists one class after the other.
    """

    images: Annotated[FileRef, Meta(description="the folder")]
    size: Annotated[int | list[int] | None, Meta(description="pixels of the input: 224, or [height, width]")] = None
    resize: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="pixels of the shorter side before `size` is cut out of the middle; by default just as many "
            "as cover `size`",
        ),
    ] = None
    crop: Annotated[
        bool | None,
        Meta(description="keep the proportions and cut the edges off (true, the default), or squeeze the whole image"),
    ] = None
    interpolation: Annotated[
        Literal["nearest", "bilinear", "bicubic", "lanczos"] | None,
        Meta(description="how pixels are resampled; default bilinear"),
    ] = None
    channels: Annotated[Literal["rgb", "gray"], Meta(description="colours of the input")] = "rgb"
    layout: Annotated[Literal["nchw", "nhwc"], Meta(description="order of the input's axes")] = "nchw"
    labels: Annotated[bool, Meta(description="false: the images lie in the folder itself, and have no labels")] = True
    classes: Annotated[
        tuple[str, ...],
        Meta(description="directories in the order of the classes; by default all, sorted by name"),
    ] = ()
    input: Annotated[str | None, Meta(description="name of the model's input; not needed if it has one")] = None
    processor: Annotated[
        FileRef | None,
        Meta(
            description="a Hugging Face `preprocessor_config.json`, or its directory, for what the keys above leave "
            "open"
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        sides = self.size if isinstance(self.size, list) else [self.size, self.size]
        if self.size is not None and (len(sides) != 2 or min(sides) < 1):
            raise ValueError("`size` is a number of pixels above 0, or [height, width]")
