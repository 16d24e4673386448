"""Durations and sizes as people write them: ``90``, ``90s``, ``10m``, ``2h``; ``512MiB``, ``4GiB``, ``500MB``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

__all__ = ["DURATION", "SIZE", "Quantity", "duration", "size"]

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")


class Quantity(msgspec.Struct, frozen=True):
    """``units``: unit → factor. ``""`` is the unit of a bare number. ``expected``: for error messages."""

    units: Mapping[str, float]
    expected: str

    def parse(self, value: str | int | float) -> float | None:
        """The value in the base unit, or None if it is not a positive quantity of this kind."""
        found = _FORM.fullmatch(str(value)) if isinstance(value, str) else None
        if found is not None:
            factor = self.units.get(found[2])
            amount = None if factor is None else float(found[1]) * factor
        else:
            amount = float(value) if not isinstance(value, str) else None
        return amount if amount is not None and 0 < amount < 2**63 else None

    @property
    def pattern(self) -> str:
        """A regular expression for the JSON Schema."""
        return f"^[0-9]+(\\.[0-9]+)? ?({'|'.join(unit for unit in self.units if unit)})?$"


DURATION = Quantity(
    {"": 1, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "a time above 0 such as 90, 90s, 10m or 2h",
)
SIZE = Quantity(
    {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    | {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
    "a size above 0 such as 512MiB, 4GiB, 500MB or a number of bytes",
)


def duration(text: str) -> float:
    """Seconds; ValueError for what is no time."""
    return _read(text, DURATION)


def size(text: str) -> int:
    """Bytes; ValueError for what is no size."""
    return int(_read(text, SIZE))


def _read(text: str, kind: Quantity) -> float:
    found = kind.parse(text)
    if found is None:
        raise ValueError(f"expected {kind.expected}, not '{text}'")
    return found
