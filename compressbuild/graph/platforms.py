"""Platforms that a Compressfile takes from the catalogue: what it leaves out is filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api import Platform
from ..compressfile.nodes import Map, Scalar, located
from ..compressfile.spec import PlatformSpec

if TYPE_CHECKING:
    from .builder import Builder

__all__ = ["filled", "platform_of"]


def platform_of(builder: Builder, name: str) -> PlatformSpec | None:
    """A platform of the file, filled in if it is like one of the catalogue. None: there is no such, as was told."""
    if name not in builder.platforms:
        declared = builder.spec.platforms[name]
        record = builder.registry.platforms.get(declared.like) if declared.like is not None else None
        if declared.like is not None and record is None:
            builder.unknown("platform", declared.like, declared.marks.get("like", declared.mark))
            builder.platforms[name] = None
        else:
            builder.platforms[name] = filled(declared, record) if record is not None else declared
    return builder.platforms[name]


def filled(declared: PlatformSpec, record: Platform) -> PlatformSpec:
    """``declared`` with the backend of ``record``, its settings where the file gives none, and its ``requires`` unless
    the file has its own (``requires: {}`` drops them)."""
    mark = declared.marks.get("like", declared.mark)
    written = {key.value for key, _ in declared.settings.entries}
    rest = tuple(
        (Scalar(name, mark), located(value, mark)) for name, value in record.settings.items() if name not in written
    )
    requires = declared.requires
    if requires is None and record.requires:
        requires = Map(tuple((Scalar(k, mark), located(v, mark)) for k, v in record.requires.items()), mark)
    return PlatformSpec(
        declared.name,
        declared.mark,
        record.backend,
        Map((*rest, *declared.settings.entries), declared.settings.mark),
        requires,
        declared.like,
        declared.marks,
    )
