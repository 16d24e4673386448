"""What a preview of samples is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .params import DatasetRef, Meta, Params

__all__ = ["Preview", "Previewing", "Sample"]


class Previewing(Params, frozen=True, kw_only=True):
    """Which samples a preview is to show."""

    data: Annotated[DatasetRef, Meta(description="the dataset")]
    samples: Annotated[tuple[int, ...], Meta(description="numbers of the samples, in the order in which it has them")]


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one sample is, for people. ``image``: the bytes of a PNG file, in base64; ``text``: plain text. Both are
    empty where a sample is neither."""

    sample: int
    image: str = ""
    text: str = ""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a preview function returns. ``value``: how many of the samples have a picture or text."""

    samples: tuple[Sample, ...]
    value: int
