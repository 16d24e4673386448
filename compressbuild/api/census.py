"""How a kind counts itself: its weights, its arithmetic, the bytes that a run of it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from .record import RecordMeta

__all__ = ["Census", "Macs", "Weight"]


class Weight(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """One trained tensor. Shapes, indices, running statistics and the constants of quantization are not trained.

    ``array``: numpy, as it is stored; float32 where numpy lacks the type. ``dtype``: its own type: ``bfloat16``,
    ``int4``. ``layer``, ``operator``: name and type of the layer that it ends in. ``packed``: how many numbers it
    holds, where an element holds several; else 0.
    """

    name: str
    array: Any
    dtype: str
    layer: str = ""
    operator: str = ""
    packed: int = 0

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return self.packed or int(self.array.size)


class Macs(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """Multiply-accumulates of one sample, as :meth:`of_run` sums them up.

    Only contractions count: convolutions, matrix products, recurrent layers, attention. A quantized operator counts as
    the operator that it stands for. ``by_type``: ``float`` (whichever float type the runtime computes in) or ``int8``
    → MACs. ``axes``: sizes of the dynamic axes. ``uncounted``: operators that contract in a way that is not known.
    """

    value: int
    by_operator: dict[str, int]
    by_type: dict[str, int]
    axes: dict[str, int] = {}
    uncounted: tuple[str, ...] = ()

    @classmethod
    def of_run(
        cls,
        counted: Iterable[tuple[str, str, int]],
        *,
        batch: int = 1,
        axes: Mapping[str, int] | None = None,
        uncounted: Iterable[str] = (),
    ) -> Macs:
        """From (operator, type, MACs) of all that ran on ``batch`` samples."""
        operators: dict[str, int] = {}
        types: dict[str, int] = {}
        for operator, kind, macs in counted:
            operators[operator] = operators.get(operator, 0) + macs
            types[kind] = types.get(kind, 0) + macs
        return cls(
            value=sum(operators.values()) // batch,
            by_operator={name: macs // batch for name, macs in sorted(operators.items())},
            by_type={name: macs // batch for name, macs in types.items()},
            axes=dict(axes or {}),
            uncounted=tuple(sorted(set(uncounted))),
        )


class Census(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """What ``Kind.census`` returns: ``f(ctx, model: Path) -> Census``. Each of these is called only if it is asked for.

    ``weights``: ``f()`` yields every trained tensor once, in the model's order. ``macs``: ``f(axes)`` with axis → size
    of the dynamic axes. ``traffic``: ``f(axes, batch)``, bytes of weights that a run of ``batch`` samples reads, each
    once; of a table that is only looked up in, those of the rows.
    """

    weights: Callable[[], Iterable[Weight]]
    macs: Callable[[Mapping[str, int]], Macs]
    traffic: Callable[[Mapping[str, int], int], int]
