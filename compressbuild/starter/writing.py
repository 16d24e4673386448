"""The text of a first Compressfile: what was found as comments, a baseline, the recipes, and what is left to fill."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..compressfile.names import COMMANDS
from ..registry import Registry
from ..words import number
from .candidates import BASELINE, Candidate
from .choices import SPEED, TRAIN
from .data import Data
from .flow import flow
from .inspection import Found
from .measures import Measures
from .model import Given
from .recipes import Recipe, kinds_after

__all__ = ["OWN_NAMES", "Plan", "free_name", "text_of", "text_of_search"]

OWN_NAMES = ("fp32", "trained", "exported")
"""Targets that every file may have; a model needs another name."""

_WIDTH = 110
_TRAINED = "trained"
_TEST = "test"
_SHORT = 200 * 10**9  # multiply-accumulates that a core does in some ten seconds
_LEAST, _LEAST_CLASSES = 300, 1000  # rows that judge: the loss of a share needs more than a mean does
_CALIBRATION, _FEWEST = 200, 100  # rows: 100 to 500 are usual
_EXPORTED = "exported"


class Plan(msgspec.Struct, frozen=True):
    """What the file is to say. ``platform``: its name; ``settings``: None for one of the catalogue. ``consumes``: kinds
    that its backend takes. ``few``: a part judges where all rows take long.
    ``runs``: whether it can run here. ``export``: the recipe that leads to one of them, None
    where none is needed. ``train``: the one that trains the baseline first."""

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
    measures: Measures
    export: Recipe | None = None
    train: Recipe | None = None
    few: bool = False

    def ready(self, recipe: Recipe) -> bool:
        """Whether the data is there that its steps need: training needs labels."""
        if self.data is None:
            return not recipe.needs
        return TRAIN not in recipe.needs or (self.data.classes and self.data.rows)


def text_of(plan: Plan, registry: Registry) -> str:
    lines = [*_heading(plan), *_start(plan), *_platforms(plan), "", *_evaluate(plan), "", "targets:"]
    lines += _targets(plan, registry)
    return "\n".join(lines) + "\n"


def text_of_search(
    plan: Plan, entered: Sequence[Candidate], gates: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> str:
    """A file with a target for each candidate; the first is the baseline. ``plan``: with every recipe of the search, so
    that the parts of the data do not depend on which candidates are written. ``gates``: candidate → metric → limits."""
    lines = [*_heading(plan), *_start(plan), "platforms:"]
    platforms = {one.runtime.name: one.runtime.settings for one in entered}
    lines += [f"  {name}: {flow(settings)}" for name, settings in platforms.items()]
    lines += ["", *_evaluate(plan), "", "targets:"]
    model = plan.given.name
    if plan.train is not None:
        lines += [
            *_about(plan.train),
            f"  {_TRAINED}: {{from: {model}, steps: {_steps(plan.train, plan, model)}, evaluate: false}}",
        ]
        model = _TRAINED
    exports = {c.export.name: c.export for c in entered if c.export is not None}
    names = {name: f"{_EXPORTED}-{name}" if at else _EXPORTED for at, name in enumerate(exports)}
    for name, export in exports.items():
        lines.append(f"  {names[name]}: {{from: {model}, steps: {_steps(export, plan, model)}, evaluate: false}}")
    for one in entered:
        lines += ["", *(["  # The baseline: what every gate compares with."] if one is entered[0] else [])]
        lines += _about(one.recipe) if one.recipe is not None else []
        source = names[one.export.name] if one.export is not None else model
        lines += [f"  {one.name}:", f"    from: {source}"]
        if one.recipe is not None and one.steps:
            filled = (_filled(step, one.recipe, plan, model) for step in one.steps)
            lines += ["    steps:", *(f"      - {_written(step)}" for step in filled)]
        lines.append(f"    platform: {one.runtime.name}")
        if limits := gates.get(one.name):
            lines += ["    gates:", *(f"      {metric}: {flow(limit)}" for metric, limit in limits.items())]
    return "\n".join(lines) + "\n"


def _start(plan: Plan) -> Iterator[str]:
    """The model and the data."""
    yield from ("version: 1", "", "models:", f"  {plan.given.name}:")
    yield from (f"    {key}: {flow(value)}" for key, value in plan.given.entry.items())
    if plan.given.factory and "weights" not in plan.given.entry:
        yield "    # weights: weights.safetensors   # without it: the weights that the factory gives"
    yield from ("", *_datasets(plan), "")


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


def _parts(plan: Plan) -> tuple[dict[str, float], int | None]:
    """The parts of the data that the steps need, and how many rows are to judge; None: the rest."""
    needs = {need for recipe in plan.recipes if plan.data is None or plan.ready(recipe) for need in recipe.needs}
    if plan.data is not None:
        needs |= {part for recipe in plan.recipes if plan.ready(recipe) for part in recipe.wishes}
    needs |= set(plan.train.needs) if plan.train is not None else set()
    split: dict[str, float] = {TRAIN: 0.6} if TRAIN in needs else {}
    split |= {"calibration": 0.1 if split else 0.2} if "calibration" in needs else {}
    count = plan.data.count if plan.data is not None else None
    if [*split] == ["calibration"] and count is not None and split["calibration"] * count < _FEWEST <= count / 2:
        split["calibration"] = _FEWEST
    judges = _judges(plan) if TRAIN not in split else None
    if judges is not None:
        split = {**({"calibration": _CALIBRATION} if split else {}), _TEST: judges}
    return split, judges


def _datasets(plan: Plan) -> Iterator[str]:
    split, judges = _parts(plan)
    if plan.data is None:
        yield "# TO FILL: your data. Remove '# ' from the lines below, here and in 'evaluate' and 'targets'."
        yield "# 'cbuild help' lists the other sources: images, csv, npy, parquet."
        yield "# datasets:"
        yield f"#   data: {flow({**_stub(plan.given), **({'split': split} if split else {})})}"
        return
    for note in plan.data.notes:
        yield f"# CHECK: {note}"
    yield "datasets:"
    if judges is not None:
        yield f"  # parts that share no row: {', '.join(f'data.{part}' for part in split)}"
        yield f"  # all rows would take long; {judges} show large differences, so raise '{_TEST}' before you decide"
    elif split and plan.data.rows:
        yield f"  # parts that share no row: {', '.join(f'data.{part}' for part in split)}; 'data' is the rest"
    yield f"  data: {flow({**plan.data.entry, **({'split': split} if split and plan.data.rows else {})})}"


def _judges(plan: Plan) -> int | None:
    """How many rows are to judge, where to run all of them takes long; else None."""
    count, macs = plan.data.count if plan.data is not None else None, plan.found.macs
    if not plan.few or plan.data is None or not plan.data.rows or count is None or not macs:
        return None
    if (pixels := _pixels(plan)) is not None:
        macs = macs * pixels ** len(plan.found.axes) // math.prod(plan.found.axes.values())
    length = plan.data.entry.get("length")
    if isinstance(length, int) and len(plan.found.axes) == 1:  # texts are longer than the sample that was counted
        macs = macs * length // next(iter(plan.found.axes.values()))
    least = _LEAST_CLASSES if plan.data.classes else _LEAST
    fit = max(least, _SHORT // macs)
    return fit if count > 2 * (fit + _CALIBRATION) else None


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
        quality = plan.measures.quality.name
        costs = ", ".join(plan.measures.costs)
        yield f"  metrics: [{costs}]   # with data, add {quality}, or another metric of quality"
    else:
        yield f"  data: data{f'.{_TEST}' if _parts(plan)[1] is not None else ''}"
        yield f"  metrics: [{', '.join((plan.measures.quality.name, *_costs(plan)))}]"
    yield f"  baseline: {BASELINE}"


def _costs(plan: Plan) -> Iterator[str]:
    """A model of pictures of any size is timed on pictures of the size that they will have."""
    pixels = _pixels(plan)
    for name in plan.measures.costs:
        if name == plan.measures.speed and pixels is not None:
            yield flow({name: {"axes": dict.fromkeys(plan.found.axes, pixels)}})[1:-1]
        else:
            yield name


def _pixels(plan: Plan) -> int | None:
    """Of a side of the pictures, where the model takes any size; else None."""
    size = plan.data.entry.get("size") if plan.data is not None and "images" in plan.data.entry else None
    return size if isinstance(size, int) and plan.found.axes else None


def _targets(plan: Plan, registry: Registry) -> Iterator[str]:
    start = plan.given.name
    if plan.train is not None:
        yield from _about(plan.train)
        yield f"  {_TRAINED}: {{from: {start}, steps: {_steps(plan.train, plan, start)}, evaluate: false}}"
        start = _TRAINED
    model = start
    if plan.export is not None:
        yield f"  {_EXPORTED}: {{from: {model}, steps: {_steps(plan.export, plan, model)}, evaluate: false}}"
        start = _EXPORTED
    if start != plan.given.name:
        yield ""
    yield "  # The baseline: what every gate compares with."
    yield f"  {BASELINE}: {{from: {start}, platform: {plan.platform}}}"
    if not plan.recipes:
        yield "  # No recipe suits this family, runtime and goal: 'cbuild recipes' lists all of them."
    for recipe in plan.recipes:
        yield ""
        yield from _recipe(plan, recipe, model, start, registry)


def _about(recipe: Recipe) -> Iterator[str]:
    yield f"  # {recipe.summary[0].upper()}{recipe.summary[1:]}."
    yield from (f"  # {line}" for line in textwrap.wrap(f"Source: {recipe.source}", _WIDTH))


def _written(step: Any) -> str:
    return step if isinstance(step, str) else flow(step)[1:-1]


def _steps(recipe: Recipe, plan: Plan, model: str) -> str:
    """On one line."""
    return f"[{', '.join(_written(_filled(step, recipe, plan, model)) for step in recipe.steps)}]"


def _recipe(plan: Plan, recipe: Recipe, model: str, exported: str, registry: Registry) -> Iterator[str]:
    on = "  " if plan.ready(recipe) else "  # "
    yield from _about(recipe)
    if not plan.ready(recipe):
        lacking = "labelled data that can be split" if TRAIN in recipe.needs else "data"
        yield f"  # TO FILL: it needs {lacking}; then remove '# ' from the lines below."
    source = model if recipe.takes == plan.given.kind else exported
    steps = [_filled(step, recipe, plan, model) for step in recipe.steps]
    if kinds_after(steps, recipe.takes, registry) not in plan.consumes and plan.export is not None:
        steps += plan.export.steps
    yield f"{on}{recipe.name}:"
    yield f"{on}  from: {source}"
    yield f"{on}  steps:"
    for step in steps:
        yield f"{on}    - {_written(step)}"
    yield f"{on}  platform: {plan.platform}"
    yield f"{on}  gates:"
    for metric, limits in _gates(plan, recipe):
        unknown = metric == plan.measures.quality.name and plan.data is None
        yield f"{'  # ' if unknown else on}    {metric}: {flow(limits)}"


def _filled(step: str | Mapping[str, Any], recipe: Recipe, plan: Plan, model: str) -> Any:
    """The names that a recipe leaves open. Without data a step does without what its recipe only wishes for."""
    if isinstance(step, str):
        return step
    parts = plan.data is None or plan.data.rows
    names = {("data", part): f"data.{part}" if parts else "data" for part in ("calibration", TRAIN)}
    names["teacher", "baseline"] = model
    ((name, params),) = step.items()
    left = () if plan.data is not None else recipe.wishes
    return {name: {key: names.get((key, value), value) if isinstance(value, str) else value
                   for key, value in params.items() if key != "data" or value not in left}}  # fmt: skip


def _gates(plan: Plan, recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Quality first. Where the runtime cannot run here, what cannot be measured does not fail the build."""
    allow = {} if plan.runs else {"unmeasured": "allow"}
    judge, speed, size = plan.measures.quality, plan.measures.speed, plan.measures.size
    yield judge.name, {**(judge.limit or {"max-drop": recipe.gates.quality_drop, "against": BASELINE}), **allow}
    if recipe.gates.size is not None and size is not None:
        yield size, {"max-ratio": recipe.gates.size, "against": BASELINE}
    if recipe.gates.latency is not None and plan.goal == SPEED and speed is not None:
        yield speed, {"max-ratio": recipe.gates.latency, "against": BASELINE, **allow}


def free_name(given: Given, taken: Iterable[str]) -> Given:
    """Models, targets and commands share their names."""
    if given.name not in taken and given.name not in COMMANDS:
        return given
    return msgspec.structs.replace(given, name=f"{given.name}-net")
