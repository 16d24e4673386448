"""Words and numbers as people write and read them: suggestions, sizes, durations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

import msgspec

__all__ = [
    "DURATION",
    "PYTHONS",
    "PYTHON_FORM",
    "SIZE",
    "Quantity",
    "did_you_mean",
    "duration",
    "memory",
    "number",
    "parsed_duration",
    "parsed_size",
    "pythons",
    "suggest",
]

_LISTED = 14  # names listed when none is close

# -- suggestions -----------------------------------------------------------------------------------------------------


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """The option that ``word`` was probably meant to be, or None. Case and ``_`` for ``-`` count for nothing."""
    import difflib

    folded = {option.lower().replace("_", "-"): option for option in sorted(options, reverse=True)}
    matches = difflib.get_close_matches(word[:200].lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def suggest(word: str, options: Iterable[str], known: str = "known", *, otherwise: str | None = None) -> str | None:
    """A hint for a word that names nothing: ``did you mean 'x'?``, or else ``otherwise``, or else ``known: a, b, c``.
    None when there is nothing to choose from."""
    names = list(options)
    near = did_you_mean(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    if otherwise is not None or not names:
        return otherwise
    more = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return f"{known}: {', '.join(names[:_LISTED])}{more}"


# -- versions of Python ----------------------------------------------------------------------------------------------

_LIMIT = re.compile(r"\s*(>=|<=|==|!=|>|<|)\s*3\.(\d+)(?:\.\*)?\s*")
PYTHONS = re.compile(rf"{_LIMIT.pattern}(,{_LIMIT.pattern})*")
"""What says which versions of Python 3 something works with."""
PYTHON_FORM = "limits on 3.N, joined by commas: '>=3.11,<3.13', or one version: '3.12'"
_HOLDS: dict[str, Callable[[int, int], bool]] = {
    "": int.__eq__,
    "==": int.__eq__,
    "!=": int.__ne__,
    ">=": int.__ge__,
    "<=": int.__le__,
    ">": int.__gt__,
    "<": int.__lt__,
}


def pythons(text: str, minor: int) -> bool:
    """Whether Python 3.``minor`` is among the versions that a text of the form PYTHONS names."""
    found = (_LIMIT.fullmatch(part) for part in text.split(","))
    return all(each is not None and _HOLDS[each[1]](minor, int(each[2])) for each in found)


# -- quantities that are read ----------------------------------------------------------------------------------------

_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNIT = re.compile(r"([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = "kmgt"


def _seconds(unit: str) -> float | None:
    return _SECONDS.get(unit)


def _bytes(unit: str) -> float | None:
    """``kB`` is 1000 bytes, ``KiB`` 1024. Case counts for nothing, and the ``B`` can be left out."""
    found = _SIZE_UNIT.fullmatch(unit)
    if found is None or (found[2] and not found[1]):
        return None
    power = _POWERS.index(found[1].lower()) + 1 if found[1] else 0
    return float((1024 if found[2] else 1000) ** power)


class Quantity(msgspec.Struct, frozen=True):
    """``factor``: of a unit, None for what is none; ``""`` is a bare number's. ``expected``: for error messages.
    ``pattern``: a regular expression for the JSON Schema."""

    factor: Callable[[str], float | None]
    expected: str
    pattern: str

    def parse(self, value: str | int | float) -> float | None:
        """The value in the base unit, or None if it is not a positive quantity of this kind."""
        amount: float | None
        if isinstance(value, str):
            found = _FORM.fullmatch(value)
            factor = self.factor(found[2]) if found is not None else None
            amount = float(found[1]) * factor if found is not None and factor is not None else None
        else:
            amount = float(value)
        return amount if amount is not None and 0 < amount < 2**63 else None


_NUMBER = r"^\s*[0-9]+(\.[0-9]+)?\s*"
DURATION = Quantity(
    _seconds, "a time above 0 such as 90, 90s, 10m or 2h", rf"{_NUMBER}({'|'.join(u for u in _SECONDS if u)})?\s*$"
)
SIZE = Quantity(
    _bytes,
    "a size above 0 such as 512MiB, 4GiB, 500MB or a number of bytes",
    rf"{_NUMBER}([kKmMgGtT][iI]?)?[bB]?\s*$",
)


def parsed_duration(text: str) -> float:
    """Seconds; ValueError for what is no time."""
    return _read(text, DURATION)


def parsed_size(text: str) -> int:
    """Bytes; ValueError for what is no size."""
    return int(_read(text, SIZE))


def _read(text: str, kind: Quantity) -> float:
    found = kind.parse(text)
    if found is None:
        raise ValueError(f"expected {kind.expected}, not '{text}'")
    return found


# -- quantities that are shown ---------------------------------------------------------------------------------------


def number(value: float, unit: str = "") -> str:
    """A value for people: ``12.3 kB``, ``41.0 M``, ``117.2 k/s``, ``0.9733``, ``1.84 ms``."""
    if not math.isfinite(value):
        return str(value)
    if unit == "B":
        for prefix, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if value >= size:
                return f"{value / size:.1f} {prefix}"
        return f"{value:.0f} B"
    if value >= 1e5:
        large = (("G", 1e9), ("M", 1e6), ("k", 1e3))
        return next(f"{value / size:.1f} {p}{unit}" for p, size in large if value >= size)
    whole = abs(value) >= 1e3 or (value == int(value) and abs(value) >= 10)
    text = f"{value:.0f}" if whole else f"{value:.4g}"
    return f"{text} {unit}".strip()


def memory(count: int) -> str:
    """Bytes of memory, in powers of 1024: ``15.5 GiB``, ``512 MiB``."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """``0.04 s``, ``3.1 s``, ``42 s``, ``3:07``, ``1:02:03``."""
    if seconds < 60:
        digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
        text = f"{seconds:.{digits}f}"
        if float(text) < 60:
            return f"{text} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
