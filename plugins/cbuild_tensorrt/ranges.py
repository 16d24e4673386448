"""Optimisation profiles: the range of each dynamic axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compressbuild.api import UserError

__all__ = ["DEFAULT_BATCH", "TensorForm", "form_of", "ranges", "set_profile"]

DEFAULT_BATCH = (1, 8, 64)
Triple = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class TensorForm:
    """A network input or output: ``shape`` of ints and axis names (a dynamic axis), ``dtype`` as numpy calls it."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    @property
    def dynamic(self) -> tuple[str, ...]:
        return tuple(axis for axis in self.shape if isinstance(axis, str))


def form_of(tensor: Any, dtype: str) -> TensorForm:
    """A TensorRT tensor as a TensorForm; a dynamic axis without a name is called ``tensor.axis``."""
    sizes = tuple(tensor.shape)
    return TensorForm(
        tensor.name,
        tuple(
            int(size) if size >= 0 else (tensor.get_dimension_name(axis) or f"{tensor.name}.{axis}")
            for axis, size in enumerate(sizes)
        ),
        dtype,
    )


def ranges(inputs: Sequence[TensorForm], profiles: Mapping[str, Sequence[int | list[int]]]) -> dict[str, Triple]:
    """Input name → its (min, opt, max) shapes, or values for an input that is a shape; only inputs that need one.

    UserError: a dynamic axis without a range, a range out of order, an entry that names no input and no axis.
    """
    known = {form.name for form in inputs} | {axis for form in inputs for axis in form.dynamic}
    for key in profiles:
        if key not in known:
            raise UserError(
                f"profiles: no input or dynamic axis is called '{key}'",
                hint=f"this model has: {', '.join(sorted(known)) or 'none'}",
            )
    found: dict[str, Triple] = {}
    for form in inputs:
        entry = profiles.get(form.name)
        if entry is not None and any(isinstance(part, list) for part in entry):
            found[form.name] = _whole(form, entry)
        elif form.dynamic:
            columns = list(_columns(form, profiles))
            low, best, high = (tuple(column[i] for column in columns) for i in range(3))
            found[form.name] = low, best, high
    return found


def _columns(form: TensorForm, profiles: Mapping[str, Sequence[int | list[int]]]) -> Iterator[tuple[int, int, int]]:
    """(min, opt, max) of each axis of an input."""
    for position, axis in enumerate(form.shape):
        if isinstance(axis, int):
            yield axis, axis, axis
        elif axis in profiles or form.name in profiles:
            key = axis if axis in profiles else form.name
            yield _sizes(key, profiles[key])
        elif position == 0:
            yield DEFAULT_BATCH
        else:
            raise UserError(
                f"input '{form.name}' has a dynamic axis '{axis}' but the platform gives it no range",
                hint=f"add to the platform: profiles: {{{axis}: [1, 64, 128]}} (minimum, optimum, maximum)",
            )


def _sizes(key: str, entry: Sequence[int | list[int]]) -> tuple[int, int, int]:
    if len(entry) == 3 and all(isinstance(size, int) for size in entry):
        low, best, high = (size for size in entry if isinstance(size, int))
        if 0 <= low <= best <= high and high > 0:
            return low, best, high
    raise UserError(
        f"profiles: '{key}' must be three sizes in order, [minimum, optimum, maximum]", hint=f"it is {entry}"
    )


def _whole(form: TensorForm, entry: Sequence[int | list[int]]) -> Triple:
    shapes = tuple(tuple(part) for part in entry if isinstance(part, list))
    wanted = len(form.shape) if form.dynamic else None
    fits = len(shapes) == len(entry) == 3 and all(len(s) == len(shapes[0]) for s in shapes)
    if fits and wanted is not None:
        fits = all(
            len(s) == wanted and all(isinstance(a, str) or a == b for a, b in zip(form.shape, s, strict=True))
            for s in shapes
        )
    if not fits or any(not low <= best <= high for low, best, high in zip(*shapes, strict=True)):
        axes = ", ".join(map(str, form.shape))
        raise UserError(f"profiles: '{form.name}' must be three shapes [{axes}] in order", hint=f"it is {list(entry)}")
    return shapes  # type: ignore[return-value]


def set_profile(builder: Any, config: Any, inputs: Sequence[TensorForm], shapes: Mapping[str, Triple]) -> None:
    """Add one optimisation profile with these ranges; nothing where every shape is fixed."""
    if not shapes:
        return
    profile = builder.create_optimization_profile()
    for form in inputs:
        if form.name in shapes:
            setter = profile.set_shape if form.dynamic else profile.set_shape_input
            setter(form.name, *shapes[form.name])
    if config.add_optimization_profile(profile) < 0:
        raise UserError(f"TensorRT refused the optimisation profile {dict(shapes)}")
