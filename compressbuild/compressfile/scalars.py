"""Plain (unquoted) scalars: what they are, and which ones YAML 1.1 and 1.2 or a reader could take for something else.

Accepted: ``null``, ``true``, ``false``, integers and floats as JSON writes them, and text. What two YAML readers may
understand differently is refused with what to write instead.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Refusal", "resolve"]

_LITERALS = {"null": None, "true": True, "false": False}
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_BOOL_WORDS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
_LOOSE_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_RADIX = re.compile(r"[-+]?0(?:[xX][0-9a-fA-F_]+|[oO][0-7_]+|[bB][01_]+)")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# Text that cannot be any of the above starts with another character than these.
_SUSPECT = frozenset("0123456789+-.~=<nNtTfFyYoO")


class Refusal(NamedTuple):
    """Why a plain scalar is not accepted."""

    message: str
    hint: str


@lru_cache(maxsize=4096)
def resolve(text: str) -> bool | int | float | str | Refusal | None:
    """The value of a plain scalar, or a Refusal."""
    if text in _LITERALS:
        return _LITERALS[text]
    if not text:
        return None
    if text[0] not in _SUSPECT:
        return text
    if text[0] in "0123456789-" and _FLOAT.fullmatch(text):
        return _number(text)
    return _surprise(text) or text


def _number(text: str) -> int | float | Refusal:
    if _INT.fullmatch(text):
        if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
            return Refusal("an integer that does not fit 64 bits", f'quote it: "{text[:40]}"')
        return int(text)
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return Refusal(f"'{text}' is too large for a float", f'quote it: "{text}"')
    return value


def _surprise(text: str) -> Refusal | None:
    lower = text.lower()
    quoted = f'quote it: "{text}"'
    if lower in _BOOL_WORDS:
        return Refusal(f"ambiguous value '{text}'", f"write {_BOOL_WORDS[lower]}, or {quoted}")
    if lower in ("null", "~"):
        return Refusal(f"ambiguous value '{text}'", f"write null, or {quoted}")
    if text in ("<<", "="):
        return Refusal(f"'{text}' (a YAML merge or value key) is not supported", "write the keys out, or use vars")
    if _NOT_FINITE.fullmatch(text):
        return Refusal(f"'{text}' is not a finite number", f"leave the key out, or {quoted}")
    if _RADIX.fullmatch(text):
        return Refusal(f"ambiguous number '{text}'", f"write {int(text, 0)}, or {quoted}")
    if _SEXAGESIMAL.fullmatch(text):
        return Refusal(f"ambiguous value '{text}' (YAML 1.1 reads a base-60 number)", quoted)
    if _DATE.fullmatch(text):
        return Refusal(f"ambiguous value '{text}' (YAML 1.1 reads a date)", quoted)
    if _LOOSE_NUMBER.fullmatch(text):
        octal = f" (or {int(text, 8)}, if it is octal)" if _OCTAL.fullmatch(text) else ""
        return Refusal(f"ambiguous number '{text}'", f"write {_plainly(text)}{octal}, or {quoted}")
    return None


def _plainly(text: str) -> str:
    """``+012``, ``1_000``, ``.5``, ``5.`` as JSON writes them."""
    text = text.replace("_", "").lstrip("+")
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    mantissa, e, exponent = re.sub("[eE]", "e", digits).partition("e")
    whole, dot, fraction = mantissa.partition(".")
    return f"{sign}{whole.lstrip('0') or '0'}{dot}{fraction or ('0' if dot else '')}{e}{exponent}"
