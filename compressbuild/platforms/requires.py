"""What a platform of a Compressfile ``requires`` of the host: ``{cpu.isa: avx512_vnni, memory: 16GiB, gpu.sm: sm89}``.

| fact | wanted | met when |
|---|---|---|
| ``os``, ``cpu.arch``, ``cpu.model``, ``gpu.name`` | a glob, or a list of them | one matches, whatever the case |
| ``cpu.isa`` | a name, or a list of them | all are there |
| ``cpu.count``, ``memory``, ``gpu.memory`` | a number, or a size | the host has at least that |
| ``gpu.driver`` | a version | the host has at least that |
| ``gpu.sm`` | ``sm89``, ``">=sm80"``, or a list of them | one is the case |
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..api.facts import FACTS
from ..errors import CompressfileError, Diagnostic
from ..words import SIZE, memory, suggest
from .facts import Fact, Facts
from .processor import EXTENSIONS

__all__ = ["check_requires", "requires_met"]

_SIZES = ("memory", "gpu.memory")
_SM = re.compile(r"(>=\s*)?sm_?(\d+)[a-z]?", re.IGNORECASE)
_VERSION = re.compile(r"(?:>=\s*)?(\d+(?:\.\d+)*)")


def check_requires(requires: Mapping[str, object]) -> dict[str, tuple[str, str | None]]:
    """What is wrong with the text of a ``requires``, whatever the host: fact written → (message, hint)."""
    wrong: dict[str, tuple[str, str | None]] = {}
    for name, wanted in requires.items():
        if name not in FACTS:
            hint = suggest(name, FACTS, otherwise=f"known: {', '.join(FACTS)}")
            wrong[name] = (f"unknown platform fact '{name}'", hint)
        elif name == "cpu.isa" and (unknown := [o for o in _alternatives(wanted) if o not in EXTENSIONS]):
            hint = suggest(
                str(unknown[0]), EXTENSIONS, otherwise="expected names as in /proc/cpuinfo, such as avx512_vnni"
            )
            wrong[name] = (f"unknown instruction set extension {_shown(unknown[0])}", hint)
        elif (expected := _expected(name, wanted)) is not None:
            wrong[name] = (f"'{name}' cannot be {_shown(wanted)}", f"expected {expected}")
    return wrong


def requires_met(requires: Mapping[str, object], facts: Facts) -> tuple[str, ...]:
    """What the host lacks, each to be read after "needs"; empty: nothing. CompressfileError as of check_requires."""
    if wrong := check_requires(requires):
        raise CompressfileError(Diagnostic(message, None, hint) for message, hint in wrong.values())
    return tuple(
        f"{name} {_phrase(name, wanted, fact)} ({_here(name, fact, facts)})"
        for name, wanted, fact in ((name, wanted, facts.get(name)) for name, wanted in requires.items())
        if not _met(name, wanted, fact)
    )


def _alternatives(wanted: object) -> list[object]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _expected(name: str, wanted: object) -> str | None:
    """What would have been right, or None if ``wanted`` is."""
    if name == "cpu.count":
        return None if type(wanted) is int and wanted > 0 else "a positive whole number"
    if name in _SIZES:
        return None if _size(wanted) is not None else "a size such as 16GiB"
    if name == "gpu.driver":
        return None if _VERSION.fullmatch(str(wanted)) else 'a version such as "550" or "550.54"'
    options = _alternatives(wanted)
    if name == "gpu.sm":
        right = bool(options) and all(isinstance(o, str) and _SM.fullmatch(o) for o in options)
        return None if right else 'a compute capability such as sm89 or ">=sm80", or a list of them'
    right = bool(options) and all(isinstance(o, str) and o for o in options)
    return None if right else "a name, or a list of names"


def _met(name: str, wanted: object, fact: Fact) -> bool:
    if fact is None:
        return False
    if isinstance(fact, list):
        return set(map(str, _alternatives(wanted))) <= set(fact)
    if isinstance(fact, int):
        return fact >= (_size(wanted) or 0)
    if name == "gpu.driver":
        return _version(fact) >= _version(str(wanted))
    if name == "gpu.sm":
        return any(_sm_met(str(option), fact) for option in _alternatives(wanted))
    return any(_glob(str(option), fact) for option in _alternatives(wanted))


def _sm_met(wanted: str, fact: str) -> bool:
    asked, here = _SM.fullmatch(wanted), _SM.fullmatch(fact)
    if asked is None or here is None:
        return False
    return int(here[2]) >= int(asked[2]) if asked[1] else int(here[2]) == int(asked[2])


def _glob(pattern: str, text: str) -> bool:
    import fnmatch

    return fnmatch.fnmatchcase(text.lower(), pattern.lower())


def _version(text: str) -> tuple[int, ...]:
    found = _VERSION.match(text)
    return tuple(map(int, found[1].split("."))) if found else ()


def _size(value: object) -> int | None:
    found = SIZE.parse(value) if isinstance(value, str) or type(value) is int else None
    return int(found) if found is not None else None


def _phrase(name: str, wanted: object, fact: Fact) -> str:
    if name in _SIZES:
        return f"of at least {memory(_size(wanted) or 0)}"
    if name == "cpu.count":
        return f"of at least {wanted}"
    if name == "gpu.driver":
        return f">= {str(wanted).lstrip('>= ')}"
    if isinstance(fact, list):
        return " and ".join(str(option) for option in _alternatives(wanted) if option not in fact)
    return " or ".join(map(str, _alternatives(wanted)))


def _here(name: str, fact: Fact, facts: Facts) -> str:
    if fact is None:
        if name.startswith("gpu.") and facts.get("gpu.name") is None:
            return f"NVIDIA GPU: {facts.gpu_reason}"
        return "unknown on this host"
    if isinstance(fact, list):
        return f"not in {facts.get('cpu.model')}"
    return f"this host has {memory(fact) if name in _SIZES and isinstance(fact, int) else fact}"


def _shown(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)
