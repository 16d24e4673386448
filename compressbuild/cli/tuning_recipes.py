"""``cbuild tune --recipe``: search recipes and runtimes for a model that has no Compressfile yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..starter.choices import Goal
from ..words import number

if TYPE_CHECKING:
    from ..starter.candidates import Candidate
    from ..starter.measures import Measures
    from ..starter.recipes import Recipe
    from ..starter.writing import Plan
    from ..tune.recipes import Contest, Entry, Outcome

__all__ = ["AUTO", "search"]

AUTO = "auto"
"""The word for all recipes that suit the model."""


def search(
    model: str,
    names: tuple[str, ...],
    *,
    data: str | None,
    inputs: tuple[str, ...],
    weights: str | None,
    train: bool,
    family: str | None,
    platforms: tuple[str, ...],
    goal: Goal,
    drop: float,
    lenient: bool,
    trials: int,
    jobs: int | None,
    cache: Path | None,
    output: str,
    write: bool,
    as_json: bool,
) -> int:
    """Try the recipes called ``names``, or all that suit MODEL, on the runtimes of this machine. ``write``: write the
    winner to ``output``, where the Compressfile of the search would lie in any case. ``lenient``: also take what is not
    shown to lose at most ``drop``."""
    from ..tune.keeping import kept_recipes

    path = Path(output)
    if write and os.path.lexists(path):
        raise UsageError(f"{output} is there already", hint="write the choice elsewhere with -o FILE")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory '{path.parent}'", hint="make it first")
    plan, entered = _planned(
        model,
        names,
        data,
        inputs,
        weights,
        path,
        train=train,
        family=family,
        platforms=platforms,
        goal=goal,
        cache=cache,
    )
    tried = entered[:trials]
    left = len(entered) - len(tried)
    contest = _contest(plan, tried, drop, lenient, path, cache, jobs)
    click.echo(f"trying {len(tried)} candidates{f' of {len(entered)}' if left else ''} …", err=True)
    outcome = contest.run()
    if (lost := kept_recipes(contest, outcome)) is not None:
        click.echo(f"note: the report will not show this search: {lost.strerror}", err=True)
    text = None if outcome.chosen is None else _winner(plan, contest, outcome.chosen, drop)
    if write and text is not None:
        _write(path, text)
    if as_json:
        click.echo(_json(model, plan, contest, outcome, write))
    else:
        _say(plan, contest, outcome, left)
        click.echo(f"wrote {output}; next: cbuild all" if write else "'--apply' writes the choice to a Compressfile")
    return 0


def _planned(
    model: str,
    names: tuple[str, ...],
    data: str | None,
    inputs: tuple[str, ...],
    weights: str | None,
    path: Path,
    *,
    train: bool,
    family: str | None,
    platforms: tuple[str, ...],
    goal: Goal,
    cache: Path | None,
) -> tuple[Plan, list[Candidate]]:
    """What the file says, and the candidates. Everything that can be refused before the model is loaded is."""
    from ..platforms import probe
    from ..registry import discover
    from ..starter.candidates import candidates, runtimes
    from ..starter.inspection import inspect
    from ..starter.measures import measures
    from ..starter.model import given
    from ..starter.recipes import find, recipes, training
    from ..starter.writing import OWN_NAMES, Plan, free_name
    from .init import check_train, complete
    from .options import environments_here

    registry = discover()
    known = recipes(registry)
    for name in names:
        if find(known, name).role != "compress":
            raise UsageError(f"recipe '{name}' compresses nothing", hint="'cbuild recipes' lists the others")
    among = runtimes(registry, probe(), platforms, environments_here(registry))
    taken = (*OWN_NAMES, *known, *(f"fp32-{each.name}" for each in among))
    found_model = free_name(given(model, registry, path.parent), taken)
    found_model, found_data = complete(found_model, data, inputs, weights, path.parent, False)
    if found_data is None:
        raise UsageError(
            "without data nobody can say what a recipe loses", hint="give --data: an .npz, a .csv, images, or a loader"
        )
    check_train(train, found_model, found_data)
    judges = measures(registry, found_data, found_model.config)
    _check_measures(judges)
    click.echo(f"inspecting {found_model.word} …", err=True)
    found = inspect(found_model, path, cache)
    family = family or found.family
    entered = candidates(
        registry, known, among, family=family, goal=goal, kind=found_model.kind, operators=found.operators, named=names
    )
    if not entered:
        said = ", ".join(each.name for each in among) or "there is none"
        raise UsageError(f"no runtime of this machine takes the model ({said})", hint="'cbuild doctor' says what lacks")
    plan = Plan(
        given=found_model,
        found=found,
        family=family,
        goal=goal,
        recipes=tuple({each.recipe.name: each.recipe for each in entered if each.recipe is not None}.values()),
        data=found_data,
        platform=entered[0].runtime.name,
        settings=entered[0].runtime.settings,
        consumes=entered[0].runtime.consumes,
        runs=True,
        measures=judges,
        train=training(known.values(), found_model.kind) if train else None,
    )
    ready = [each for each in entered if each.recipe is None or plan.ready(each.recipe)]
    _say_left_out([each.recipe for each in entered if each not in ready], names, [each.recipe for each in ready])
    return plan, ready


def _check_measures(judges: Measures) -> None:
    for what, name in (("speed", judges.speed), ("size", judges.size)):
        if name is None:
            raise UsageError(f"no installed metric measures {what}", hint="'cbuild plugins' lists what is installed")


def _say_left_out(lacking: list[Recipe | None], names: tuple[str, ...], ready: list[Recipe | None]) -> None:
    """What cannot be tried, and names that suit nothing."""
    without = dict.fromkeys(recipe.name for recipe in lacking if recipe is not None)
    if without:
        click.echo(f"note: left out, as they need labelled data that can be split: {', '.join(without)}", err=True)
    tried = {recipe.name for recipe in ready if recipe is not None}
    if unsuited := [name for name in names if name not in tried and name not in without]:
        raise UsageError(
            f"recipe '{unsuited[0]}' does not suit this model, its goal or a runtime of this machine",
            hint=f"'cbuild recipes {unsuited[0]}' says whom it suits",
        )


def _contest(
    plan: Plan, tried: list[Candidate], drop: float, lenient: bool, path: Path, cache: Path | None, jobs: int | None
) -> Contest:
    from ..report.text.progress import PlainProgress
    from ..starter.writing import text_of_search
    from ..tune.recipes import Contest

    measures = plan.measures
    assert measures.speed is not None
    assert measures.size is not None
    gates = {one.name: {measures.quality.name: _limit(plan, drop)} for one in tried[1:]}
    return Contest(
        path=path,
        text=text_of_search(plan, tried, gates),
        entered=tuple(tried),
        quality=measures.quality.name,
        speed=measures.speed,
        size=measures.size,
        goal=plan.goal,  # type: ignore[arg-type]
        drop=None if measures.quality.limit else drop,
        lenient=lenient,
        cache=cache,
        jobs=jobs,
        observers=(PlainProgress(sys.stderr),),
    )


def _limit(plan: Plan, drop: float) -> dict[str, Any]:
    """How far quality may fall: below the baseline, or what the metric's own record says."""
    from ..starter.candidates import BASELINE

    return dict(plan.measures.quality.limit) or {"max-drop": drop, "against": BASELINE}


def _winner(plan: Plan, contest: Contest, chosen: Entry, drop: float) -> str:
    """The Compressfile with the baseline and the choice. What was measured is a gate where it is sure to hold."""
    from ..starter.candidates import BASELINE
    from ..starter.writing import text_of_search

    baseline, own = contest.entered[0], chosen.candidate
    if own is baseline:
        return text_of_search(plan, [baseline], {})
    gates = {contest.quality: _limit(plan, drop)}
    if chosen.slowest is not None and chosen.slowest < 1:
        gates[contest.speed] = {"max-ratio": 1.0, "against": BASELINE}
    return text_of_search(plan, [baseline, own], {own.name: gates})


def _write(path: Path, text: str) -> None:
    from ..whole import write_new

    try:
        write_new(str(path), text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _say(plan: Plan, contest: Contest, outcome: Outcome, left: int) -> None:
    from ..report.text.columns import framed

    chosen = outcome.chosen
    assert chosen is not None
    head = ["", "candidate", "runtime", contest.quality, "lost, 95 %", contest.speed, contest.size, "why not"]
    rows = [
        [
            str(entry.number + 1),
            entry.candidate.name,
            entry.candidate.runtime.name,
            number(entry.quality) if entry.quality is not None else "–",
            f"{entry.lost[0]:+.3f} to {entry.lost[1]:+.3f}" if entry.lost is not None else "–",
            f"×{entry.speed:.2f}" + _interval(entry) if entry.speed is not None else "–",
            number(entry.size, "B") if entry.size is not None else "–",
            "chosen" if entry is chosen else outcome.losses[entry.candidate.name],
        ]
        for entry in outcome.entries
    ]
    click.echo("\n".join(framed([head, *rows], (0, 3, 4, 5, 6))))
    counts = {state: sum(e.state == state for e in outcome.entries) for state in ("kept", "unsure", "missed", "failed")}
    more = f"; {left} more with a larger --trials" if left else ""
    unsure = f", {counts['unsure']} may" if counts["unsure"] else ""
    click.echo(
        f"{len(outcome.entries)} candidates: {counts['kept']} keep the gate{unsure}, {counts['missed']} do not, "
        f"{counts['failed']} failed{more}"
    )
    if unsure:
        click.echo("what may keep it needs more samples to be judged: give --data with more rows")
    own = chosen.candidate
    if own is contest.entered[0]:
        click.echo(f"chosen for {plan.goal}: {own.name}, the model as it came: nothing that keeps the gate is better")
        return
    base = outcome.entries[0]
    smaller = (chosen.size or 0.0) / (base.size or 1.0)
    click.echo(
        f"chosen for {plan.goal}: {own.name} on {own.runtime.name}: ×{chosen.speed:.2f} of the time and "
        f"×{smaller:.2f} of the size of {base.candidate.name}, {contest.quality} {_shown(base)} → {_shown(chosen)}"
    )


def _shown(entry: Entry) -> str:
    return "–" if entry.quality is None else f"{entry.quality:.4g}"


def _interval(entry: Entry) -> str:
    if entry.fastest is None or entry.slowest is None or entry.number == 0:
        return ""
    return f" [{entry.fastest:.2f}–{entry.slowest:.2f}]"


def _json(model: str, plan: Plan, contest: Contest, outcome: Outcome, written: bool) -> str:
    import json

    return json.dumps(
        {
            "model": model,
            "family": plan.family,
            "goal": plan.goal,
            "metrics": {"quality": contest.quality, "speed": contest.speed, "size": contest.size},
            "trials": [
                {
                    "trial": entry.number + 1,
                    "candidate": entry.candidate.name,
                    "recipe": entry.candidate.recipe.name if entry.candidate.recipe is not None else None,
                    "runtime": entry.candidate.runtime.name,
                    "state": entry.state,
                    "quality": entry.quality,
                    "lost": entry.lost,
                    "ratio": entry.speed,
                    "interval": [entry.fastest, entry.slowest],
                    "size": entry.size,
                    "reason": outcome.losses.get(entry.candidate.name, ""),
                    "ran": entry.ran,
                }
                for entry in outcome.entries
            ],
            "chosen": None if outcome.chosen is None else outcome.chosen.number + 1,
            "written": written,
        },
        ensure_ascii=False,
    )
