"""Recipes: the steps that suit a family of models on a runtime, with their gates and their source.

A recipe is a file ``recipes/NAME.yaml`` beside the manifest of a plugin. It names techniques; it runs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..compressfile.nodes import plain
from ..compressfile.problems import Problems
from ..compressfile.reader import read
from ..errors import CbuildError, UsageError
from ..registry import Registry
from ..words import suggest
from .choices import TRAIN, Family, Goal, Part, Role

__all__ = ["Limits", "Recipe", "exporting", "find", "kinds_after", "recipes", "suitable", "training"]

_MOST = 3


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What the result must meet. ``quality_drop``: points of the quality below the baseline; ``size`` and ``latency``:
    ratios to the baseline, None for no gate. ``latency`` limits the metric of speed, and only where the goal asks for
    speed."""

    quality_drop: float = 0.01
    size: float | None = None
    latency: float | None = 1.0


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``takes``: the kind that it starts from. ``needs``: the parts of the data that its steps name; ``wishes``: those
    that they name and do without where there is no data. ``layers``: types of layers; the model must have one of them.
    ``rank``: the lower comes first. ``steps``: as a Compressfile has them; ``teacher: baseline`` is the model as it
    came. ``families``, ``runtimes`` and ``goals``: empty for any.

    ``role``: ``compress`` makes a target of its own. ``train`` gives the weights of a factory their values, before the
    baseline; ``export`` leads from ``takes`` to a kind that other recipes and runtimes take."""

    summary: str
    source: str
    takes: str
    steps: tuple[str | dict[str, Any], ...]
    families: tuple[Family, ...] = ()
    runtimes: tuple[str, ...] = ()
    goals: tuple[Goal, ...] = ()
    role: Role = "compress"
    needs: tuple[Part, ...] = ()
    wishes: tuple[Part, ...] = ()
    gates: Limits = Limits()
    layers: tuple[str, ...] = ()
    rank: int = 50
    name: str = ""
    plugin: str = ""

    @property
    def techniques(self) -> list[str]:
        return [step if isinstance(step, str) else next(iter(step)) for step in self.steps]

    def makes(self, registry: Registry) -> str:
        """The kind of artifact that its steps make."""
        return kinds_after(self.steps, self.takes, registry)


def kinds_after(steps: Iterable[Any], kind: str, registry: Registry) -> str:
    """The kind of artifact that steps make of one of ``kind``."""
    for step in steps:
        name = step if isinstance(step, str) else next(iter(step))
        kind = registry.techniques[name].produces or kind
    return kind


def recipes(registry: Registry) -> dict[str, Recipe]:
    """Name → recipe, of every installed plugin. A damaged file, or a name that two plugins offer, is an error."""
    found: dict[str, Recipe] = {}
    for plugin in registry.plugins:
        folder = Path(plugin.file).parent / "recipes" if plugin.file else None
        for path in sorted(folder.glob("*.yaml")) if folder is not None else ():
            if path.stem in found:
                raise CbuildError(
                    f"plugins '{found[path.stem].plugin}' and '{plugin.name}' both offer a recipe '{path.stem}'",
                    hint="uninstall one of them, or rename its file",
                )
            found[path.stem] = _read(path, plugin.name, registry)
    return dict(sorted(found.items(), key=lambda item: (item[1].rank, item[0])))


def _read(path: Path, plugin: str, registry: Registry) -> Recipe:
    text = path.read_text(encoding="utf-8")
    problems = Problems({str(path): text})
    node = read(text, str(path), problems)
    problems.check()
    try:
        recipe = msgspec.convert(plain(node) if node is not None else {}, Recipe)
    except msgspec.ValidationError as error:
        raise CbuildError(
            f"recipe '{path.stem}' of plugin '{plugin}' cannot be used: {error}", hint=f"the file is {path}"
        ) from error
    for name in recipe.techniques:
        if name not in registry.techniques:
            raise CbuildError(
                f"recipe '{path.stem}' of plugin '{plugin}' cannot be used: {registry.unknown('technique', name)}",
                hint=f"the file is {path}",
            )
    return msgspec.structs.replace(recipe, name=path.stem, plugin=plugin)


def find(known: Mapping[str, Recipe], name: str) -> Recipe:
    if name not in known:
        raise UsageError(f"unknown recipe '{name}'", hint=suggest(name, known, otherwise="see 'cbuild recipes'"))
    return known[name]


def exporting(known: Iterable[Recipe], registry: Registry, kind: str, wanted: Collection[str]) -> Recipe | None:
    """The first recipe that leads from a kind to one of those that are wanted."""
    return next((r for r in known if r.role == "export" and r.takes == kind and r.makes(registry) in wanted), None)


def training(known: Iterable[Recipe], kind: str) -> Recipe | None:
    """The first recipe that trains the weights of a new model."""
    return next((r for r in known if r.role == TRAIN and r.takes == kind), None)


def suitable(
    known: Collection[Recipe],
    registry: Registry,
    family: str,
    runtime: str,
    goal: str,
    kind: str,
    operators: Collection[str],
    *,
    most: int | None = _MOST,
) -> list[Recipe]:
    """The recipes for a model, the best known first. Those that take another kind are reached by export. ``most``: how
    many at most; None: all."""

    def suits(recipe: Recipe) -> bool:
        reached = recipe.takes == kind or exporting(known, registry, kind, (recipe.takes,)) is not None
        has = not recipe.layers or any(layer in operators for layer in recipe.layers)
        pairs = ((family, recipe.families), (runtime, recipe.runtimes), (goal, recipe.goals))
        return reached and has and all(not among or one in among for one, among in pairs)

    return [recipe for recipe in known if recipe.role == "compress" and suits(recipe)][:most]
