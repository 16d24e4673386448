"""Platforms that a Compressfile takes from the catalogue: what it leaves out is filled in."""

from __future__ import annotations

from typing import Any

from ..api import Backend, Platform
from ..compressfile.nodes import Map, Scalar, located, plain
from ..compressfile.spec import PlatformSpec
from ..platforms import saturates
from .draft import Draft
from .params import Settling

__all__ = ["automatic", "backend_of", "filled", "platform_of"]


def platform_of(draft: Draft, name: str) -> PlatformSpec | None:
    """A platform of the file, filled in if it is like one of the catalogue; None if unknown, which is reported."""
    if name not in draft.platforms:
        declared = draft.spec.platforms[name]
        record = draft.registry.platforms.get(declared.like) if declared.like is not None else None
        if declared.like is not None and record is None:
            draft.unknown("platform", declared.like, declared.marks.get("like", declared.mark))
            draft.platforms[name] = None
        else:
            draft.platforms[name] = filled(declared, record) if record is not None else declared
    return draft.platforms[name]


def backend_of(draft: Draft, platform: str | None) -> Backend | None:
    """The backend of a platform of the file; None without a platform, or if it is unknown."""
    declared = platform_of(draft, platform) if platform is not None else None
    return draft.registry.backends.get(declared.backend) if declared is not None else None


def automatic(draft: Draft, platform: str | None) -> Settling:
    """What answers the questions of parameters left at ``auto``, for a platform of the file or, without one, here.

    ``qdq_scheme``: the backend's. ``saturates``: whether its 8-bit products do on the processors it is for; without a
    platform, whether they do on this one.
    """

    backend = backend_of(draft, platform)

    def answer(question: str) -> Any:
        if question == "qdq_scheme":
            return backend.qdq_scheme if backend is not None else None
        if question == "saturates":
            if backend is not None and not backend.saturates:
                return False
            declared = platform_of(draft, platform) if platform is not None else None
            requires = declared.requires if declared is not None else None
            return saturates(draft.facts_at(draft.host_of(declared)), plain(requires) if requires is not None else None)
        raise ValueError(f"a parameter's 'auto' asks for '{question}', which no platform answers")

    return Settling(answer, backend.name if backend is not None else None)


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
        declared.host,
    )
