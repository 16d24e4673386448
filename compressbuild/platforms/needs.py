"""Whether this host has what a record needs, and how to say that it has not."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

import msgspec

from ..api.needs import Needs
from .facts import Facts
from .libraries import find_library

__all__ = ["Missing", "check", "install_line", "lacking", "unavailable"]

_PIP = re.compile(r"pip install (?:'([^']+)'|([\w.\[\],-]+))")
_EXTRAS = re.compile(r"compressbuild\[([\w,.-]+)\]")


class Missing(msgspec.Struct, frozen=True):
    """One thing that is not here. ``what`` completes "needs …"; ``hint``: how to get it, or empty. ``modules``: the
    Python packages, if it is those. ``everywhere``: no machine has it."""

    what: str
    hint: str = ""
    modules: tuple[str, ...] = ()
    everywhere: bool = False


def check(needs: Needs, facts: Facts) -> tuple[Missing, ...]:
    """What of ``needs`` this host lacks; empty: nothing. Imports no module and loads no library that it finds."""
    lacking: list[str] = []
    packages: list[Missing] = []
    if needs.system:
        here = str(facts.get("os"))
        if here.lower() not in {name.lower() for name in needs.system}:
            lacking.append(f"{' or '.join(needs.system)} (this is {here})")
    absent = [name for name in needs.modules if not _importable(name)]
    if absent:
        packages.append(Missing(_packages(absent), needs.install, tuple(absent)))
    for group in needs.libraries:
        if not any(find_library(name) for name in group):
            lacking.append(f"{' or '.join(_native(group))} (not found)")
    for group in needs.programs:
        if not any(_on_path(name) for name in group):
            lacking.append(f"the program {' or '.join(group)} (not on PATH)")
    if (needs.gpu or needs.gpu_sm) and facts.get("gpu.name") is None:
        lacking.append(f"an NVIDIA GPU ({facts.gpu_reason})")
    elif needs.gpu_sm and facts.get("gpu.sm") not in needs.gpu_sm:
        lacking.append(f"a GPU of {' or '.join(needs.gpu_sm)} (this is {facts.get('gpu.sm') or 'of an unknown one'})")
    return (*packages, *(Missing(what, needs.install) for what in lacking))


def _packages(names: Sequence[str]) -> str:
    return f"the Python package{'s' * (len(names) > 1)} {_and(names)} (not installed)"


def lacking(missing: Sequence[Missing]) -> str:
    """What is not here, without how to get it: ``needs A (not found) and B (none found)``."""
    packages = list(dict.fromkeys(name for m in missing for name in m.modules))
    others = dict.fromkeys(m.what for m in missing if not m.modules)
    return f"needs {_and([*([_packages(packages)] if packages else []), *others])}"


def install_line(wanted: Iterable[Sequence[Missing]]) -> str | None:
    """One ``pip install`` for all of ``wanted`` that lack nothing but Python packages; None if nothing is that."""
    extras: dict[str, None] = {}
    packages: dict[str, None] = {}
    for missing in wanted:
        if not all(each.modules for each in missing):
            continue
        for each in missing:
            found = _PIP.search(each.hint)
            if found is None:
                continue
            named = _EXTRAS.fullmatch(found[1] or found[2])
            if named is not None:
                extras.update(dict.fromkeys(named[1].split(",")))
            else:
                packages[found[0].removeprefix("pip install ")] = None
    words = [f"'compressbuild[{','.join(sorted(extras))}]'"] if extras else []
    return f"pip install {' '.join([*words, *packages])}" if words or packages else None


def unavailable(subject: str, missing: Sequence[Missing]) -> str:
    """One sentence: ``tensorrt: needs A (not found) and B (none found): install …``."""
    hints = list(dict.fromkeys(m.hint for m in missing if m.hint))
    return f"{subject}: {lacking(missing)}" + (f": {'; '.join(hints)}" if hints else "")


def _importable(module: str) -> bool:
    """Whether the top-level package is there. Looking for a submodule would import its parent."""
    from importlib.util import find_spec

    top = module.partition(".")[0]
    if top in sys.modules:
        return sys.modules[top] is not None
    found = find_spec(top)
    return found is not None and (found.origin is not None or _distributed(top))


def _distributed(package: str) -> bool:
    """Whether a package without ``__init__.py`` was installed: any bare directory of that name looks like one."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return bool(distribution(package).version)
    except PackageNotFoundError:
        return False


def _on_path(program: str) -> bool:
    from shutil import which

    return which(program) is not None


def _native(names: Sequence[str]) -> Sequence[str]:
    """Those named as libraries are on this system; all, if none is."""
    mark = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    return [name for name in names if mark in name] or names


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
