"""Words of the command line → targets."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..errors import UsageError
from ..words import suggest
from .names import TAG, is_glob
from .spec import Spec

__all__ = ["select", "tags"]


def select(spec: Spec, words: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Targets in file order without duplicates, and those named by exactly their own name.

    A word is a target, ``all``, a group, a glob over targets, or ``tag:`` and a tag. UsageError where one
    selects nothing.
    """
    wanted: set[str] = set()
    named: set[str] = set()
    for word in words:
        if word in spec.targets:
            wanted.add(word)
            named.add(word)
        elif word == "all":
            wanted.update(spec.targets)
        elif word in spec.groups:
            wanted.update(spec.groups[word])
        else:
            wanted |= _matching(spec, word)
    return tuple(name for name in spec.targets if name in wanted), frozenset(named)


def tags(spec: Spec) -> list[str]:
    """The words that select by a tag."""
    return list(dict.fromkeys(TAG + tag for target in spec.targets.values() for tag in target.tags))


def _matching(spec: Spec, word: str) -> set[str]:
    if word.startswith(TAG):
        found = {name for name, target in spec.targets.items() if word[len(TAG) :] in target.tags}
        if found:
            return found
        raise UsageError(
            f"no target has the tag '{word[len(TAG) :]}'", hint=suggest(word, tags(spec), otherwise="see 'cbuild list'")
        )
    if is_glob(word):
        found = {name for name in spec.targets if fnmatchcase(name, word)}
        if found:
            return found
        raise UsageError(f"no target matches '{word}'", hint=suggest(word, spec.targets, "targets"))
    if word in spec.models:
        made = [name for name, target in spec.targets.items() if target.source == word]
        raise UsageError(
            f"'{word}' is a model, and models are not built",
            hint=f"name a target made from it: {', '.join(made[:5])}" if made else "declare a target 'from' it",
        )
    raise UsageError(
        f"unknown target '{word}'", hint=suggest(word, [*spec.targets, *spec.groups, "all", *tags(spec)], "targets")
    )
