"""What is installed beside the engine: entry points of plugins, versions of distributions; remembered in a small file.

Asking ``importlib.metadata`` costs more than the rest of a plan, so the answer is kept for as long as the directories
that hold ``*.dist-info`` have the same mtime: installing, upgrading or removing a distribution changes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..digest import seal, unseal

__all__ = ["GROUP", "EntryPoint", "Installed", "Remembered", "read", "scan", "tool_versions", "write"]

GROUP = "compressbuild"
_MAGIC = b"compressbuild-installed-2"
# A directory changed this recently may change again without a new mtime (coarse clocks, an installer still at work).
_SETTLED_NS = 2_000_000_000


class EntryPoint(msgspec.Struct, frozen=True):
    """``value``: ``module`` or ``module:attribute``. ``distribution``, ``version``: who ships it; empty: nobody."""

    name: str
    value: str
    distribution: str = ""
    version: str = ""


class Installed(msgspec.Struct, frozen=True):
    """``identity``: the interpreter and its search path. ``watched``: directory → mtime in ns.
    ``versions``: normalised distribution name → version. ``modules``: top-level module → its distributions."""

    identity: str
    watched: dict[str, int]
    versions: dict[str, str]
    entry_points: tuple[EntryPoint, ...]
    modules: dict[str, tuple[str, ...]]

    def current(self) -> bool:
        """Whether this still describes the running interpreter."""
        return self.identity == _identity() and all(_mtime(path) == then for path, then in self.watched.items())

    def settled(self) -> bool:
        """Whether every directory is old enough for its mtime to tell the next change."""
        return all(then < time.time_ns() - _SETTLED_NS for then in self.watched.values())

    def tool_versions(self, names: Iterable[str]) -> dict[str, str | None]:
        """Distribution name as asked → its version, or None if it is not installed; with those of the distributions
        that ship a module of that name, for one may stand for another: ``onnxruntime-gpu`` for ``onnxruntime``."""
        asked = list(names)
        found = {name: self.versions.get(_normalised(name)) for name in asked}
        for name in asked:
            for other in self.modules.get(name, ()):
                if _normalised(other) != _normalised(name):
                    found[other] = self.versions.get(_normalised(other))
        return found

    def module_versions(self, modules: Iterable[str]) -> dict[str, dict[str, str | None]]:
        """Top-level module → the versions of the distributions that it comes from (several, for a namespace)."""
        return {
            module: {name: self.versions.get(_normalised(name)) for name in self.modules.get(module, ())}
            for module in modules
        }

    def siblings(self, module: str) -> frozenset[str]:
        """Every top-level module that the distributions of this one ship; empty for one that none is known to ship."""
        by = set(self.modules.get(module, ()))
        return frozenset(top for top, names in self.modules.items() if by.intersection(names))


class Remembered(msgspec.Struct, frozen=True):
    """The content of the cache file. ``offers``: plugin → what (``technique`` …) → names, when it last worked."""

    installed: Installed
    offers: dict[str, dict[str, tuple[str, ...]]] = {}


def read(path: Path | None) -> Remembered | None:
    """What was remembered, current or not; None if there is nothing readable."""
    if path is None:
        return None
    try:
        body = unseal(_MAGIC, path.read_bytes())
        return None if body is None else msgspec.msgpack.decode(body, type=Remembered)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # a cache: without it the same answer takes longer


def write(path: Path, remembered: Remembered) -> None:
    """Replace the file in one rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    # A read-only project is no error: the next command asks importlib.metadata again.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(seal(_MAGIC, msgspec.msgpack.encode(remembered)))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def scan() -> Installed:
    """Ask ``importlib.metadata``. Of a distribution found twice, the first on ``sys.path`` counts, as in imports."""
    import importlib.metadata

    identity = _identity()
    # Before the listing: a change meanwhile makes the answer stale, never wrong for ever.
    watched = {path: mtime for path in _path() if _holds_metadata(path) and (mtime := _mtime(path)) is not None}
    versions: dict[str, str] = {}
    points: list[EntryPoint] = []
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or _normalised(name) in versions:  # no name: the remains of a failed uninstall
            continue
        version = versions[_normalised(name)] = distribution.version or ""
        points += [
            EntryPoint(point.name, point.value, name, version)
            for point in distribution.entry_points
            if point.group == GROUP
        ]
    points.sort(key=lambda p: (p.name, p.distribution))
    modules = {top: tuple(sorted(set(by))) for top, by in importlib.metadata.packages_distributions().items()}
    return Installed(identity, watched, versions, tuple(points), modules)


def tool_versions(names: Iterable[str], cache: Path | None = None) -> dict[str, str | None]:
    """Versions of installed distributions, from ``cache`` (the file that ``discover`` writes) if it is current."""
    known = read(cache)
    return (known.installed if known and known.installed.current() else scan()).tool_versions(names)


def _path() -> list[str]:
    return list(dict.fromkeys(os.path.abspath(entry) for entry in sys.path))


def _identity() -> str:
    return "\n".join([sys.version, sys.prefix, *_path()])


def _holds_metadata(path: str) -> bool:
    try:
        return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(path))
    except NotADirectoryError:
        return path.endswith((".egg", ".zip", ".whl"))
    except OSError:  # an entry of sys.path that is not there
        return False


def _mtime(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _normalised(name: str) -> str:
    """As in the "Names and normalization" page of the Python packaging specifications."""
    return re.sub(r"[-_.]+", "-", name).lower()
