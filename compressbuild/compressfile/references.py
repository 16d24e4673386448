"""What only the whole file can tell: names that exist, targets that form no cycle, groups that end in targets."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from ..suggest import did_you_mean
from .checks import Checks, Reference
from .names import is_glob
from .nodes import Broken, Map, Node, Scalar
from .spec import TargetSpec
from .suggest import suggest

__all__ = ["check_cycles", "check_references", "flatten_groups"]

Declared = Mapping[str, Mapping[str, Scalar]]
"""Section (``model``, ``target`` …) → name → the key that declares it."""


def check_references(checks: Checks, declared: Declared) -> None:
    """Every name that the file refers to is declared in one of the sections it may be in."""
    for reference in checks.references:
        if not any(reference.name in declared[kind] for kind in reference.kinds):
            _unknown(reference, checks, declared)


def _unknown(reference: Reference, checks: Checks, declared: Declared) -> None:
    name, kinds = reference.name, " or ".join(reference.kinds)
    elsewhere = next((kind for kind in declared if name in declared[kind]), None)
    message = f"unknown {kinds} '{name}'" if elsewhere is None else f"'{name}' is a {elsewhere}, not a {kinds}"
    names = [known for kind in reference.kinds for known in declared[kind]]
    checks.add(message, reference.mark, lambda: suggest(name, names) or f"the file declares no {kinds}")


def check_cycles(targets: Mapping[str, TargetSpec], checks: Checks) -> None:
    """Following ``from`` from any target ends at a model."""
    settled: set[str] = set()
    for start in targets:
        path: dict[str, int] = {}
        name = start
        while name in targets and name not in settled:
            if name in path:
                loop = list(path)[path[name] :]
                first = targets[loop[0]]
                checks.add(
                    f"targets are made from each other: {' -> '.join([*loop, loop[0]])}",
                    first.marks.get("from", first.mark),
                    "make one of them 'from' a model",
                )
                break
            path[name] = len(path)
            name = targets[name].source
        settled.update(path)


def flatten_groups(groups: Map, declared: Declared, checks: Checks) -> dict[str, tuple[str, ...]]:
    """Group → its target names in file order. Members: targets, other groups, globs over targets."""
    nodes = {str(key.value): node for key, node in groups.entries}
    found: dict[str, frozenset[str]] = {}

    def members(group: str, trail: tuple[str, ...]) -> frozenset[str]:
        if group not in found:
            names: set[str] = set()
            for item in checks.items(nodes[group], f"group '{group}'"):
                names |= member(group, item, (*trail, group))
            found[group] = frozenset(names)
        return found[group]

    def member(group: str, item: Node, trail: tuple[str, ...]) -> frozenset[str]:
        word = checks.text(item, f"a member of group '{group}'", "the name of a target or group, or a glob")
        if word is None or isinstance(item, Broken):
            return frozenset()
        if word in declared["target"]:
            return frozenset((word,))
        if word in trail:
            loop = " -> ".join([*trail[trail.index(word) :], word])
            checks.add(f"groups hold each other: {loop}", item.mark, "take one out of the other")
            return frozenset()
        if word in nodes:
            return members(word, trail)
        matches = frozenset(name for name in declared["target"] if fnmatchcase(name, word)) if is_glob(word) else None
        if not matches:
            _no_member(word, item, checks, declared)
        return matches or frozenset()

    flat = {group: members(group, ()) for group in nodes}
    return {group: tuple(name for name in declared["target"] if name in names) for group, names in flat.items()}


def _no_member(word: str, item: Node, checks: Checks, declared: Declared) -> None:
    if word == "all":
        checks.add("'all' is every target by itself and cannot be in a group", item.mark, 'write "*"')
    elif word in declared["model"]:
        checks.add(f"'{word}' is a model; a group holds targets", item.mark, "name a target made from it")
    elif is_glob(word):
        checks.add(f"no target matches '{word}'", item.mark)
    else:
        names = [*declared["target"], *declared["group"]]
        near = did_you_mean(word, names)
        hint = f"did you mean '{near}'?" if near else 'name a target, a group or a glob such as "cpu-*"'
        checks.add(f"unknown target or group '{word}'", item.mark, hint)
