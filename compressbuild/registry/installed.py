"""What is installed beside the engine: entry points of plugins, versions of distributions.

Asking ``importlib.metadata`` costs more than the rest of a plan, so the answer is kept for as long as the directories
that hold ``*.dist-info`` have the same mtime: installing, upgrading or removing a distribution changes it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["GROUP", "EntryPoint", "Installed", "scan"]

GROUP = "compressbuild"
# A directory changed this recently may change again without a new mtime (coarse clocks, an installer still at work).
_SETTLED_NS = 2_000_000_000
_FIELD = re.compile(r"^(Name|Version): *(.*?) *$", re.MULTILINE)


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


def scan() -> Installed:
    """Ask ``importlib.metadata``. Of a distribution found twice, the first on ``sys.path`` counts, as in imports."""
    import importlib.metadata

    identity = _identity()
    # Before the listing: a change meanwhile makes the answer stale for one call, never permanently wrong.
    watched = {path: mtime for path in _path() if _holds_metadata(path) and (mtime := _mtime(path)) is not None}
    versions: dict[str, str] = {}
    points: list[EntryPoint] = []
    modules: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name, version = _named(distribution)
        if not name:  # the remains of a failed uninstall
            continue
        for top in _top_level(distribution):
            modules.setdefault(top, set()).add(name)
        if _normalised(name) in versions:
            continue
        versions[_normalised(name)] = version
        if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
            found = (point for point in distribution.entry_points if point.group == GROUP)
            points += [EntryPoint(point.name, point.value, name, version) for point in found]
    points.sort(key=lambda p: (p.name, p.distribution))
    return Installed(
        identity, watched, versions, tuple(points), {top: tuple(sorted(by)) for top, by in modules.items()}
    )


def _named(distribution: Distribution) -> tuple[str, str]:
    """Name and version. Of a file of metadata only the head is parsed: most of it is a page about the project."""
    text = distribution.read_text("METADATA")
    if text is None:  # a legacy .egg-info, or a finder's own
        return distribution.metadata["Name"] or "", distribution.version or ""
    head = dict(_FIELD.findall(text.partition("\n\n")[0]))
    return head.get("Name", ""), head.get("Version", "")


def _top_level(distribution: Distribution) -> set[str]:
    """The modules that it ships, as ``importlib.metadata.packages_distributions`` infers them, from RECORD's lines."""
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return set(declared)
    record = distribution.read_text("RECORD")
    if record is None:
        paths = [str(file) for file in distribution.files or ()]
    else:
        paths = [
            line[1:].partition('"')[0] if line[:1] == '"' else line.partition(",")[0] for line in record.split("\n")
        ]
    return {path.partition("/")[0].removesuffix(".py") for path in paths if path.endswith(".py")}


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
