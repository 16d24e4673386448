"""Whether 8-bit products saturate: x86-64 without VNNI adds two of u8 × s8 in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping

from .facts import Facts

__all__ = ["saturates"]

_EXACT = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_ARM = ("asimd", "i8mm", "sve", "sme")


def saturates(facts: Facts, requires: Mapping[str, object] | None = None) -> bool:
    """Of the processors that a platform ``requires``, as far as it names them, else of the host.

    One that only requires AVX2 may have no VNNI, so there they do. False on an unknown architecture; True on x86-64
    whose extensions are unknown.
    """
    asked = requires or {}
    isa = set(_names(asked.get("cpu.isa"))) if "cpu.isa" in asked else set(_names(facts.get("cpu.isa")))
    if any(name.startswith(_ARM) for name in isa):
        return False
    given = "x86_64" if "cpu.isa" in asked and isa else facts.get("cpu.arch")
    arch = asked.get("cpu.arch", given)
    return "x86_64" in (name.lower() for name in _names(arch)) and not isa & _EXACT


def _names(value: object) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
