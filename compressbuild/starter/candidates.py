"""What a search over recipes tries: every runtime that runs here, with the model as it came and with each recipe that
suits it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import fields

from ..api import Backend
from ..environment import Environments
from ..errors import UsageError
from ..platforms import Facts, check, lacking
from ..registry import Registry
from ..words import suggest
from .recipes import Recipe, exporting, kinds_after, suitable

__all__ = ["BASELINE", "Candidate", "Runtime", "candidates", "runtimes"]

BASELINE = "fp32"
"""The target that every gate compares with: the model as it came, on the first runtime."""


class Runtime(msgspec.Struct, frozen=True):
    """A platform of the search, called like its backend. ``settings``: its entry of ``platforms``."""

    name: str
    settings: dict[str, Any]
    consumes: tuple[str, ...]


class Candidate(msgspec.Struct, frozen=True):
    """A target of the search. ``recipe``: None for the model as it came. ``export``: the recipe whose output it starts
    from; None: it starts from the model itself. ``steps``: with the export at the end, where one is needed."""

    name: str
    runtime: Runtime
    recipe: Recipe | None
    export: Recipe | None
    steps: tuple[Any, ...]


def runtimes(
    registry: Registry, facts: Facts, wanted: Sequence[str], environments: Environments | None = None
) -> list[Runtime]:
    """Those that can run here, the one with the highest priority first. Of several backends with one software stack and
    the same inputs, which are formats of one runtime, the first. One with a Python environment of its own is left out
    unless it is wanted. ``wanted``: names of backends, empty for all. ``environments``: where those are, of the plugins
    by default.

    UsageError if one that is wanted is unknown or cannot run here."""

    declared = environments or Environments(None, registry, Path(os.devnull))

    def lacks(record: Backend) -> str:
        needs = (record.stack.needs, record.compile_needs, record.run_needs)
        found = [lack for each in needs for lack in check(each, facts)]
        found += declared.lacks(record.stack.environment)
        return lacking(found) if found else ""

    for word in wanted:
        if word not in registry.backends:
            hint = suggest(word, registry.backends, otherwise="'cbuild doctor' lists the backends")
            raise UsageError(f"no backend is called '{word}'", hint=hint)
        if missing := lacks(registry.backends[word]):
            raise UsageError(f"'{word}' cannot run on this machine: it {missing}", hint="leave it out of --platform")
    found: list[Runtime] = []
    seen: list[tuple[Any, ...]] = []
    for record in sorted(registry.backends.values(), key=lambda each: (-each.priority, each.name)):
        software = (record.stack, record.consumes)
        known = {field.name: field for field in fields(record.settings)}
        if wanted:
            if record.name not in wanted:
                continue
        elif record.stack.environment is not None:
            continue  # gigabytes that nobody asked for
        elif software in seen or any(field.required for field in known.values()) or lacks(record):
            continue
        seen.append(software)
        threads = known["threads"].default if "threads" in known else None
        settings = {"backend": record.name, **({"threads": threads} if isinstance(threads, int) else {})}
        found.append(Runtime(record.name, settings, record.consumes))
    return found


def candidates(
    registry: Registry,
    known: Mapping[str, Recipe],
    among: Sequence[Runtime],
    *,
    family: str,
    goal: str,
    kind: str,
    operators: Collection[str],
    named: Collection[str] = (),
) -> list[Candidate]:
    """The baseline first, then the model as it came on the other runtimes, then the recipes, the best known first.
    ``kind``: of the model. ``named``: the recipes to try, empty for all that suit. Empty if no runtime takes the model.
    """
    plain: list[Candidate] = []
    compressed: list[Candidate] = []
    for runtime in among:
        export = None
        if kind not in runtime.consumes:
            export = exporting(known.values(), registry, kind, runtime.consumes)
            if export is None:
                continue
        name = f"{BASELINE}-{runtime.name}" if plain else BASELINE
        plain.append(Candidate(name, runtime, None, export, ()))
    for runtime in (each.runtime for each in plain):
        for recipe in suitable(known.values(), registry, family, runtime.name, goal, kind, operators, most=None):
            if named and recipe.name not in named:
                continue
            start = None
            if recipe.takes != kind:
                start = exporting(known.values(), registry, kind, (recipe.takes,))
            steps = list(recipe.steps)
            after = kinds_after(steps, recipe.takes, registry)
            if after not in runtime.consumes:
                last = exporting(known.values(), registry, after, runtime.consumes)
                if last is None:
                    continue
                steps += last.steps
            first = runtime is plain[0].runtime or runtime.name in recipe.name
            name = recipe.name if first else f"{recipe.name}-{runtime.name}"
            compressed.append(Candidate(name, runtime, recipe, start, tuple(steps)))
    order = {name: rank for rank, name in enumerate(known)}
    return [*plain, *sorted(compressed, key=lambda each: order[each.recipe.name if each.recipe else ""])]
