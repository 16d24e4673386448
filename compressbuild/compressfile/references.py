"""What only the whole file can tell: names that exist, targets that form no cycle, groups that end in targets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase

from ..words import suggest
from .checks import Checks, Reference
from .names import TAG, is_glob
from .nodes import Map, Node, Scalar
from .order import dependencies_first
from .spec import PlatformSpec, TargetSpec

__all__ = ["Catalogue", "check_cycles", "check_references", "flatten_groups", "members"]

Declared = Mapping[str, Mapping[str, Scalar]]
"""Section (``model``, ``target`` …) → name → the key that declares it."""


Catalogue = Callable[[], Collection[str]]
"""Gives the names of the platforms that the plugins know; asked only where the file names one it does not declare."""


def check_references(checks: Checks, declared: Declared, catalogue: Catalogue) -> dict[str, PlatformSpec]:
    """Every name that the file refers to is declared in one of the sections it may be in, or is a platform of the
    catalogue. Returns those platforms."""
    found: dict[str, PlatformSpec] = {}
    for reference in checks.references:
        if any(reference.name in declared[kind] for kind in reference.kinds):
            continue
        name, mark = reference.name, reference.mark
        if "platform" in reference.kinds and name in catalogue():
            found.setdefault(name, PlatformSpec(name, mark, "", Map((), mark), like=name))
        else:
            _unknown(reference, checks, declared, catalogue)
    return found


def _unknown(reference: Reference, checks: Checks, declared: Declared, catalogue: Catalogue) -> None:
    name, kinds = reference.name, " or ".join(reference.kinds)
    elsewhere = next((kind for kind in declared if name in declared[kind]), None)
    message = f"unknown {kinds} '{name}'" if elsewhere is None else f"'{name}' is a {elsewhere}, not a {kinds}"
    names = [known for kind in reference.kinds for known in declared[kind]]
    if "platform" in reference.kinds:
        names += catalogue()
    checks.add(message, reference.mark, lambda: suggest(name, names) or f"the file declares no {kinds}")


def check_cycles(targets: Mapping[str, TargetSpec], checks: Checks) -> None:
    """Following ``from`` from any target ends at a model."""

    def made_from(name: str) -> tuple[str, ...]:
        source = targets[name].source
        return (source,) if source in targets else ()

    def loop(names: list[str]) -> None:
        first = targets[names[0]]
        checks.add(
            f"targets are made from each other: {' -> '.join(names)}",
            first.marks.get("from", first.mark),
            "make one of them 'from' a model",
        )

    dependencies_first(targets, made_from, loop)


def flatten_groups(
    groups: Map, declared: Declared, targets: Mapping[str, TargetSpec], checks: Checks
) -> dict[str, tuple[str, ...]]:
    """Group → its target names in file order. Members: targets, other groups, globs over targets, tags."""
    members: dict[str, dict[str, Node]] = {}
    for key, node in groups.entries:
        group = str(key.value)
        what = f"a member of group '{group}'"
        items = [
            (checks.text(item, what, "the name of a target or group, or a glob"), item)
            for item in checks.items(node, f"group '{group}'")
        ]
        members[group] = {word: item for word, item in items if word is not None}

    def nested(group: str) -> list[str]:
        return [word for word in members[group] if word in members]

    def loop(names: list[str]) -> None:
        closing = members[names[-2]][names[-1]]
        checks.add(f"groups contain each other: {' -> '.join(names)}", closing.mark, "take one out of the other")

    found: dict[str, set[str]] = {}
    for group in dependencies_first(members, nested, loop):
        found[group] = set()
        for word, item in members[group].items():
            found[group] |= (
                found.get(word, set()) if word in members else _matching(word, item, checks, declared, targets)
            )
    return {group: tuple(name for name in declared["target"] if name in found[group]) for group in members}


def members(
    node: Node | None,
    what: str,
    groups: Mapping[str, tuple[str, ...]],
    declared: Declared,
    targets: Mapping[str, TargetSpec],
    checks: Checks,
) -> tuple[str, ...]:
    """The targets, in file order, that a list of targets, groups and globs stands for; without one, every target."""
    if node is None:
        return tuple(declared["target"])
    found: set[str] = set()
    for item in checks.items(node, what):
        word = checks.text(item, f"an item of {what}", "the name of a target or group, or a glob")
        if word is not None:
            found |= set(groups[word]) if word in groups else _matching(word, item, checks, declared, targets)
    return tuple(name for name in declared["target"] if name in found)


def _matching(word: str, item: Node, checks: Checks, declared: Declared, targets: Mapping[str, TargetSpec]) -> set[str]:
    """The targets that a member that is no group stands for."""
    if word in declared["target"]:
        return {word}
    if word.startswith(TAG):
        tagged = {name for name, target in targets.items() if word[len(TAG) :] in target.tags}
        if not tagged:
            known = [TAG + tag for target in targets.values() for tag in target.tags]
            checks.add(f"no target has the tag '{word[len(TAG) :]}'", item.mark, suggest(word, known, "tags"))
        return tagged
    matches = {name for name in declared["target"] if fnmatchcase(name, word)} if is_glob(word) else set()
    if not matches:
        _no_member(word, item, checks, declared)
    return matches


def _no_member(word: str, item: Node, checks: Checks, declared: Declared) -> None:
    if word == "all":
        checks.add("'all' is every target by itself and cannot be in a group", item.mark, 'write "*"')
    elif word in declared["model"]:
        checks.add(f"'{word}' is a model; a group holds targets", item.mark, "name a target made from it")
    elif is_glob(word):
        checks.add(f"no target matches '{word}'", item.mark)
    else:
        names = [*declared["target"], *declared["group"]]
        hint = suggest(word, names, otherwise='name a target, a group, a glob such as "cpu-*" or tag:NAME')
        checks.add(f"unknown target or group '{word}'", item.mark, hint)
