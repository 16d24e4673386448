"""``interface.json``: the inputs and outputs of a compiled program whose format does not name them::

{"inputs": [{"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32"}], "outputs": ["logits"],
 "sizes": {"batch": [1, 64]}}

A backend whose programs reserve their memory ahead of time asks for the sizes of dynamic axes: ``{batch: [1, 64],
tokens: 128}`` is a range and a fixed size.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressbuild.api import ModelInput, UserError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Interface", "check_feeds", "size_ranges"]

_NAME = "interface.json"
_BATCH = (1, 64)  # of a first axis that nobody gave a size
Sizes = Mapping[str, tuple[int, int]]  # axis → least and largest size


def size_ranges(inputs: Iterable[ModelInput], given: Mapping[str, int | list[int]]) -> dict[str, tuple[int, int]]:
    """Least and largest size of every dynamic axis. A first axis that is not ``given`` is 1 to 64; others must be."""
    found: dict[str, tuple[int, int]] = {}
    missing: dict[str, ModelInput] = {}
    for item in inputs:
        for position, axis in enumerate(item.shape):
            if not isinstance(axis, str) or axis in found:
                continue
            if axis in given:
                size = given[axis]
                found[axis] = (size, size) if isinstance(size, int) else (size[0], size[1])
            elif position == 0:
                found[axis] = _BATCH
            else:
                missing.setdefault(axis, item)
    for axis in given:
        if axis not in found:
            raise UserError(f"sizes: no input has an axis '{axis}'", hint=f"dynamic axes: {', '.join(found) or 'none'}")
        if found[axis][0] > found[axis][1]:
            raise UserError(f"sizes: '{axis}' is from {found[axis][0]} to {found[axis][1]}, which is not a range")
    for axis, item in missing.items():
        if axis not in found:
            raise UserError(
                f"the size of axis '{axis}' of input '{item.name}' must be bounded, because memory is planned ahead",
                hint=f"give its range or its size: 'sizes: {{{axis}: [1, 128]}}', 'sizes: {{{axis}: 128}}'",
            )
    return found


def check_feeds(
    inputs: Iterable[ModelInput], feeds: Mapping[str, Any], what: str, sizes: Sizes | None = None
) -> dict[str, np.ndarray]:
    """The arrays of ``feeds`` that ``inputs`` name. UserError if one is missing or does not fit.

    ``what``: the model, for messages. ``sizes``: least and largest size of named axes; others may have any size.
    """
    import numpy as np

    found: dict[str, np.ndarray] = {}
    for item in inputs:
        if item.name not in feeds:
            raise UserError(f"{what} cannot be run: no value for input '{item.name}'")
        array = np.asarray(feeds[item.name])
        if array.dtype != item.dtype or len(array.shape) != len(item.shape):
            raise UserError(f"{what} cannot be run: it expects {item}, not {array.dtype} {list(array.shape)}")
        for axis, size in zip(item.shape, array.shape, strict=True):
            low, high = (axis, axis) if isinstance(axis, int) else (sizes or {}).get(axis, (0, size))
            if not low <= size <= high:
                raise UserError(
                    f"{what} cannot be run: it expects {item}, not {array.dtype} {list(array.shape)}",
                    hint=None if low == high else f"'{axis}' was compiled for {low} to {high}; see 'sizes:'",
                )
        found[item.name] = array
    return found


@dataclass(frozen=True, slots=True)
class Interface:
    """``outputs``: names, in order. ``sizes``: least and largest size of each axis that ``inputs`` give a name."""

    inputs: tuple[ModelInput, ...]
    outputs: tuple[str, ...]
    sizes: Sizes = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Iterable[ModelInput], outputs: Iterable[str], sizes: Sizes) -> Interface:
        """The interface of a program; an axis with only one size becomes that number."""
        fixed = {axis: low for axis, (low, high) in sizes.items() if low == high}
        shapes = [
            replace(item, shape=tuple(fixed.get(axis, axis) if isinstance(axis, str) else axis for axis in item.shape))
            for item in inputs
        ]
        return cls(tuple(shapes), tuple(outputs), {a: size for a, size in sizes.items() if a not in fixed})

    def checked(self, feeds: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
        """The arrays of ``feeds`` that the program takes. UserError if one does not fit: a program may read past the
        end of a short array. ``what``: it, for messages."""
        return check_feeds(self.inputs, feeds, what, self.sizes)

    def write(self, directory: Path) -> None:
        (directory / _NAME).write_text(self.text() + "\n", encoding="utf-8")

    def text(self) -> str:
        return json.dumps(self.content(), indent=2, sort_keys=True, ensure_ascii=False)

    def content(self) -> dict[str, Any]:
        """As JSON values, for a backend that has more to say in one file."""
        rows = [{"name": item.name, "shape": list(item.shape), "dtype": item.dtype} for item in self.inputs]
        return {"inputs": rows, "outputs": list(self.outputs), "sizes": dict(self.sizes)}

    @classmethod
    def read(cls, directory: Path) -> Interface:
        """ValueError if the file is not what :meth:`write` makes."""
        try:
            return cls.parse((directory / _NAME).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{_NAME} is damaged: {error}") from error

    @classmethod
    def parse(cls, text: str) -> Interface:
        return cls.of_content(json.loads(text))

    @classmethod
    def of_content(cls, found: Any) -> Interface:
        """What :meth:`content` gives, or ValueError."""
        try:
            inputs = tuple(ModelInput(row["name"], tuple(row["shape"]), row["dtype"]) for row in found["inputs"])
            sizes = {axis: (int(low), int(high)) for axis, (low, high) in found["sizes"].items()}
            return cls(inputs, tuple(map(str, found["outputs"])), sizes)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(repr(error)) from error
