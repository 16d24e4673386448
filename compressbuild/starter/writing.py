"""The text of a first Compressfile: what was found as comments, a baseline, the recipes, and what is left to fill."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..compressfile.names import COMMANDS
from ..registry import Registry
from ..words import number
from .data import Data
from .flow import flow
from .inspection import Found
from .model import Given
from .recipes import Recipe

__all__ = ["OWN_NAMES", "Plan", "free_name", "kinds_after", "text_of"]

OWN_NAMES = ("fp32", "trained", "exported")
"""Targets that every file may have; a model needs another name."""

_WIDTH = 110
_BASELINE = "fp32"
_TRAINED = "trained"
_ONNX = "exported"


class Plan(msgspec.Struct, frozen=True):
    """What the file is to say. ``platform``: its name; ``settings``: None for one of the catalogue. ``consumes``: kinds
    that its backend takes. ``runs``: whether it can run here. ``train``: the baseline is trained first."""

    given: Given
    found: Found
    family: str
    goal: str
    recipes: Sequence[Recipe]
    data: Data | None
    platform: str
    settings: Mapping[str, Any] | None
    consumes: tuple[str, ...]
    runs: bool
    train: bool

    def ready(self, recipe: Recipe) -> bool:
        """Whether the data is there that its steps need: training needs labels."""
        if self.data is None:
            return not recipe.needs
        return "train" not in recipe.needs or (self.data.classes and self.data.rows)


def kinds_after(steps: Iterable[Any], kind: str, registry: Registry) -> str:
    """The kind of artifact that steps make of one of ``kind``."""
    for step in steps:
        name = step if isinstance(step, str) else next(iter(step))
        kind = registry.techniques[name].produces or kind
    return kind


def text_of(plan: Plan, registry: Registry) -> str:
    lines = [*_heading(plan), "version: 1", "", "models:", f"  {plan.given.name}:"]
    lines += [f"    {key}: {flow(value)}" for key, value in plan.given.entry.items()]
    if plan.given.factory and "weights" not in plan.given.entry:
        lines.append("    # weights: weights.safetensors   # without it: the weights that the factory gives")
    lines += ["", *_datasets(plan), "", *_platforms(plan), "", *_evaluate(plan), "", "targets:"]
    lines += _targets(plan, registry)
    return "\n".join(lines) + "\n"


# -- what was found --------------------------------------------------------------------------------------------------


def _heading(plan: Plan) -> Iterator[str]:
    found = plan.found
    size = number(found.size, "B")
    yield f"# {plan.given.name}: {_words(plan.family)}, {found.parameters:,} parameters, {size} of weights."
    if found.macs is not None:
        axes = ", ".join(f"{name} {size}" for name, size in found.axes.items())
        yield f"# {number(found.macs)} multiply-accumulates a sample{f' ({axes})' if axes else ''}."
    if found.largest:
        yield "# Largest tensors:"
    for name, operator, shape, count, _ in found.largest:
        yield f"#   {name}  {operator} {'×'.join(map(str, shape))}: {100 * count / max(1, found.parameters):.0f} %"
    yield f"# Goal: {plan.goal}. See the plan with 'cbuild -n all', build with 'cbuild all'."


def _words(family: str) -> str:
    return {"cnn": "a CNN", "rnn": "an RNN", "mlp": "an MLP", "mix": "a mix of layers"}.get(
        family, f"a {family.replace('-', ' ')}"
    )


# -- the sections ----------------------------------------------------------------------------------------------------


def _datasets(plan: Plan) -> Iterator[str]:
    needs = {need for recipe in plan.recipes if plan.data is None or plan.ready(recipe) for need in recipe.needs}
    split = {"train": 0.6} if "train" in needs or plan.train else {}
    split |= {"calibration": 0.1 if split else 0.2} if "calibration" in needs else {}
    if plan.data is None:
        yield "# TO FILL: your data. Remove '# ' from the lines below, here and in 'evaluate' and 'targets'."
        yield "# 'cbuild help' lists the other sources: images, csv, npy, parquet."
        yield "# datasets:"
        yield f"#   data: {flow({**_stub(plan.given), **({'split': split} if split else {})})}"
        return
    for note in plan.data.notes:
        yield f"# CHECK: {note}"
    yield "datasets:"
    if split and plan.data.rows:
        yield f"  # parts that share no row: {', '.join(f'data.{part}' for part in split)}; 'data' is the rest"
    yield f"  data: {flow({**plan.data.entry, **({'split': split} if split and plan.data.rows else {})})}"


def _stub(given: Given) -> dict[str, Any]:
    folder = given.entry.get("huggingface")
    if folder is not None and "vocab_size" in given.config:
        return {"csv": "texts.csv", "text": "text", "labels": "label", "tokenizer": folder, "length": 64}
    if folder is not None and "image_size" in given.config:
        return {"images": "photos", "processor": folder}
    return {"npz": "data.npz", "labels": "label"}


def _platforms(plan: Plan) -> Iterator[str]:
    if plan.settings is None:
        yield f"# The platform '{plan.platform}' is one of the catalogue: 'cbuild platforms' lists them."
        return
    yield "platforms:"
    yield f"  {plan.platform}: {flow(plan.settings)}"


def _evaluate(plan: Plan) -> Iterator[str]:
    yield "evaluate:"
    if plan.data is None:
        yield "  # data: data"
        yield f"  metrics: [latency, size]   # with data, add {_quality(plan)}, or another metric of quality"
    else:
        yield "  data: data"
        yield f"  metrics: [{_quality(plan)}, latency, size]"
    yield f"  baseline: {_BASELINE}"


def _quality(plan: Plan) -> str:
    """Without data: what the model seems to be for."""
    if plan.data is not None:
        return "top1" if plan.data.classes else "cosine"
    said = [str(name) for name in plan.given.config.get("architectures") or ()]
    return "cosine" if plan.given.config and not any("Classification" in name for name in said) else "top1"


def _targets(plan: Plan, registry: Registry) -> Iterator[str]:
    start = plan.given.name
    if plan.train:
        yield "  # The weights of the factory are trained first."
        yield f"  {_TRAINED}: {{from: {start}, steps: [train: {{data: data.train, epochs: 10}}], evaluate: false}}"
        start = _TRAINED
    model = start
    if plan.given.kind not in plan.consumes:
        yield f"  {_ONNX}: {{from: {model}, steps: [export.onnx], evaluate: false}}"
        start = _ONNX
    if start != plan.given.name:
        yield ""
    yield "  # The baseline: what every gate compares with."
    yield f"  {_BASELINE}: {{from: {start}, platform: {plan.platform}}}"
    if not plan.recipes:
        yield "  # No recipe suits this family, runtime and goal: 'cbuild recipes' lists all of them."
    for recipe in plan.recipes:
        yield ""
        yield from _recipe(plan, recipe, model, start, registry)


def _recipe(plan: Plan, recipe: Recipe, model: str, exported: str, registry: Registry) -> Iterator[str]:
    on = "  " if plan.ready(recipe) else "  # "
    yield f"  # {recipe.summary[0].upper()}{recipe.summary[1:]}."
    yield from (f"  # {line}" for line in textwrap.wrap(f"Source: {recipe.source}", _WIDTH))
    if not plan.ready(recipe):
        lacking = "labelled data that can be split" if "train" in recipe.needs else "data"
        yield f"  # TO FILL: it needs {lacking}; then remove '# ' from the lines below."
    source = exported if recipe.takes == "onnx" else model
    steps = [_filled(step, plan, model) for step in recipe.steps]
    if kinds_after(steps, recipe.takes, registry) not in plan.consumes:
        steps.append("export.onnx")
    yield f"{on}{recipe.name}:"
    yield f"{on}  from: {source}"
    yield f"{on}  steps:"
    for step in steps:
        yield f"{on}    - {step if isinstance(step, str) else flow(step)[1:-1]}"
    yield f"{on}  platform: {plan.platform}"
    yield f"{on}  gates:"
    for metric, limits in _gates(plan, recipe):
        yield f"{'  # ' if metric in ('top1', 'cosine') and plan.data is None else on}    {metric}: {flow(limits)}"


def _filled(step: str | Mapping[str, Any], plan: Plan, model: str) -> Any:
    """The names that a recipe leaves open."""
    if isinstance(step, str):
        return step
    parts = plan.data is None or plan.data.rows
    names = {("data", part): f"data.{part}" if parts else "data" for part in ("calibration", "train")}
    names["teacher", "baseline"] = model
    ((name, params),) = step.items()
    return {name: {key: names.get((key, value), value) if isinstance(value, str) else value
                   for key, value in params.items()}}  # fmt: skip


def _gates(plan: Plan, recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Quality first. Where the runtime cannot run here, what cannot be measured does not fail the build."""
    allow = {} if plan.runs else {"unmeasured": "allow"}
    if _quality(plan) == "top1":
        yield "top1", {"max-drop": recipe.gates.quality_drop, "against": _BASELINE, **allow}
    else:
        yield "cosine", {"min": 0.98, **allow}
    if recipe.gates.size is not None:
        yield "size", {"max-ratio": recipe.gates.size, "against": _BASELINE}
    if recipe.gates.latency is not None and plan.goal == "latency":
        yield "latency", {"max-ratio": recipe.gates.latency, "against": _BASELINE, **allow}


def free_name(given: Given, taken: Iterable[str]) -> Given:
    """Models, targets and commands share their names."""
    if given.name not in taken and given.name not in COMMANDS:
        return given
    return msgspec.structs.replace(given, name=f"{given.name}-net")
