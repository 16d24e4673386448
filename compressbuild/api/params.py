"""Typed parameters, and the annotations that make a parameter an edge of the graph.

A parameter is a field of a :class:`Params` struct. Written in a Compressfile its name is kebab-case
(``batch_size`` → ``batch-size``). Unknown names and wrong types are refused with their place in the file.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .needs import Needs

__all__ = ["DatasetRef", "FileRef", "FunctionRef", "Label", "Meta", "ModelRef", "Narrow", "Params", "schemes"]


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The name of a metric's result, if its parameters give one: a target can then use one metric several times."""

    name: str
    unit: str
    direction: str


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Base of every parameter struct. The docstring of a subclass is the technique's one-line help."""

    def measured_as(self) -> Label | None:
        """For a metric: the name of its result; None: the record's name."""
        return None

    def needs(self) -> Needs:
        """What these values take of the host beyond the record's needs: for a technique to run, a backend to compile
        (``device: cuda``)."""
        return Needs()

    def run_needs(self) -> Needs:
        """Of a backend's settings: what running the compiled artifact takes beyond ``run_needs`` of the record."""
        return Needs()


# The ``extra`` of a reference is read by the graph when it resolves parameters.
DatasetRef = Annotated[str, Meta(description="a dataset of the Compressfile", extra={"ref": "dataset"})]
"""Name of a dataset; ``ctx.dataset(params.field)`` opens it. Its loader's code and its files join the key."""

ModelRef = Annotated[str, Meta(description="a model or target of the Compressfile", extra={"ref": "model"})]
"""Name of a model or target; adds an edge. ``ctx.artifact(params.field)`` is its directory."""

FunctionRef = Annotated[
    str, Meta(description="module:function of your project", pattern=r"^[\w.]+:[\w.]+$", extra={"ref": "function"})
]
"""``module:function`` in the user's project; ``ctx.function(params.field)`` imports it. Its code joins the key."""

FileRef = Annotated[str, Meta(description="a file of your project", extra={"ref": "file"})]
"""Path relative to the Compressfile; ``ctx.file(params.field)`` is its absolute path. Its bytes join the key."""


Narrow = Annotated[
    bool | Literal["auto"],
    Meta(
        description="7-bit weights, whose products no processor saturates; `auto`: where the platform's processor is "
        "an x86-64 without VNNI",
        extra={"auto": "saturates", "fallback": False},
    ),
]
"""A plan replaces ``auto`` by true where 8-bit products saturate on the processors of the target's platform, or on this
one without a platform. ``extra={"auto": "saturates", "when": {True: …, False: …}}`` gives a parameter of your own
another value for each."""


def schemes(*known: str) -> Meta:
    """The annotation of a quantizer's parameter: which schemes it knows, by name. The first is the default.

    ::

        scheme: Annotated[str, schemes("u8-affine", "s8-symmetric")] = "auto"

    A plan replaces ``auto`` by the ``qdq_scheme`` of the backend of the target's platform, and by the first where a
    target has no platform. Names are open: a backend may ask for a scheme of its own, and a quantizer that does not
    know it is refused. No one int8 file suits all hardware.
    """
    return Meta(
        description=f"how integers stand for numbers: {', '.join(known)}, or auto: what the target's platform asks for",
        pattern=f"^({'|'.join(map(re.escape, ('auto', *known)))})$",
        extra={"auto": "qdq_scheme", "fallback": known[0], "known": known},
    )
