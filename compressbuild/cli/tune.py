"""``cbuild tune TARGET``: search the ranges of a target for the best values under its gates. With ``--recipe``: search
recipes and runtimes for a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import place
from ..errors import UsageError
from ..starter.choices import FAMILIES, GOALS, SPEED, Goal
from ..words import number, parsed_duration
from . import completion
from .options import found, project_options

if TYPE_CHECKING:
    from ..tune.search import Search
    from ..tune.trials import Trial

__all__ = ["command"]

_ORDER = "compressbuild.cli.objectives"
"""Where a context keeps the objectives."""


def _objective(ctx: click.Context, option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    ctx.meta.setdefault(_ORDER, []).extend((name, option.name) for name in names)
    return names


def _seconds(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsed_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


_OF_RECIPES = ("data", "inputs", "weights", "train", "family", "platforms", "goal", "drop", "inconclusive", "output")
_OF_RANGES = ("file", "at_once", "overrides", "timeout", "seed", "verbose")
_SHOWN = {"inputs": "input", "platforms": "platform", "drop": "max-drop", "overrides": "set", "at_once": "at-once"}


@click.command("tune", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", metavar="TARGET | MODEL", shell_complete=completion.targets)
@project_options
@click.option(
    "--minimize", multiple=True, expose_value=False, callback=_objective, metavar="METRIC",
    help="A metric to make as small as possible (repeatable).",
)  # fmt: skip
@click.option(
    "--maximize", multiple=True, expose_value=False, callback=_objective, metavar="METRIC",
    help="A metric to make as large as possible (repeatable).",
)  # fmt: skip
@click.option(
    "--trials", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
    help="How many points to build, with those of earlier searches.",
)  # fmt: skip
@click.option("--timeout", callback=_seconds, metavar="TIME", help="Begin no trial after this time: 90s, 10m, 2h.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="CPU slots of each trial, as for a build.")
@click.option("--at-once", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
              help="How many trials are one build, which makes what they share once.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, metavar="N", help="Of the search."
)
@click.option(
    "--apply", "write", is_flag=True, help="Write the best values, or the chosen recipe, to the Compressfile."
)
@click.option("--recipe", "names", multiple=True, metavar="auto | NAME",
              help="Search recipes and runtimes for MODEL: all that suit it, or those named (repeatable).")  # fmt: skip
@click.option("--data", metavar="DATA", shell_complete=completion.files,
              help="With --recipe: an .npz, .csv or .jsonl, a folder of images, or a loader.")  # fmt: skip
@click.option("--goal", type=click.Choice(GOALS), default=SPEED, show_default=True,
              help="With --recipe: what matters most.")  # fmt: skip
@click.option("--max-drop", "drop", type=click.FloatRange(0), default=0.01, show_default=True, metavar="POINTS",
              help="With --recipe: how far quality may fall below the model as it came.")  # fmt: skip
@click.option("--inconclusive", type=click.Choice(("fail", "allow")), default="fail", show_default=True,
              help="With --recipe: whether to choose what may fall further by the 95 % interval.")  # fmt: skip
@click.option("--platform", "platforms", multiple=True, metavar="NAME",
              help="With --recipe: a backend to try (repeatable; default: all that run here).")  # fmt: skip
@click.option("--family", type=click.Choice(FAMILIES), help="With --recipe: what the model is.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=SIZES[:TYPE]",
              help="With --recipe: an input of a factory's model (repeatable).")  # fmt: skip
@click.option("--weights", metavar="FILE", shell_complete=completion.files,
              help="With --recipe: a safetensors file for a factory's model.")  # fmt: skip
@click.option("--train", is_flag=True, help="With --recipe: train the factory's model first.")
@click.option("-o", "--output", default=place.NAME, metavar="FILE", shell_complete=completion.files,
              help="With --recipe: where --apply writes.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Also show the nodes that run.")
def command(
    target: str,
    file: str,
    overrides: tuple[str, ...],
    cache_dir: str | None,
    trials: int,
    timeout: float | None,
    jobs: int | None,
    at_once: int,
    seed: int,
    write: bool,
    as_json: bool,
    verbose: bool,
    names: tuple[str, ...],
    data: str | None,
    goal: Goal,
    drop: float,
    inconclusive: str,
    platforms: tuple[str, ...],
    family: str | None,
    inputs: tuple[str, ...],
    weights: str | None,
    train: bool,
    output: str,
) -> int:
    """Search the ranges of TARGET for the values that are best under its gates. Every trial is a cached build.

    With --recipe: search recipes and the runtimes of this machine for MODEL, which is a model file, a Hugging Face
    directory, or the factory of a torch model as module:function.
    """
    _check_options(bool(names))
    if names:
        from .tuning_recipes import AUTO
        from .tuning_recipes import search as search_recipes

        return search_recipes(
            target,
            () if AUTO in names else names,
            data=data,
            inputs=inputs,
            weights=weights,
            train=train,
            family=family,
            platforms=platforms,
            goal=goal,
            drop=drop,
            lenient=inconclusive == "allow",
            trials=trials,
            jobs=jobs,
            cache=Path(cache_dir) if cache_dir else None,
            output=output,
            write=write,
            as_json=as_json,
        )
    from ..report.text.progress import PlainProgress
    from ..tune.search import Search

    found(file)
    search = Search.of(
        Path(file),
        target,
        click.get_current_context().meta.get(_ORDER, []),
        overrides,
        Path(cache_dir) if cache_dir else None,
        trials=trials,
        timeout=timeout,
        jobs=jobs,
        at_once=at_once,
        seed=seed,
        observers=(PlainProgress(sys.stderr),) if verbose else (),
        warn=lambda text: click.echo(f"warning: {text}", err=True),
    )
    done: list[Trial] = []
    try:
        for trial in search.run():
            done.append(trial)
            click.echo(_line(search, trial), err=as_json)
            sys.stdout.flush()
    except BaseException:  # Ctrl-C: what has ended is shown, and counts the next time
        _keep(search, done)
        if done and not as_json:
            click.echo("\n".join(_table(search, done)))
        raise
    _keep(search, done)
    return _conclude(search, done, write=write, as_json=as_json)


def _keep(search: Search, done: Sequence[Trial]) -> None:
    """For the report."""
    from ..tune.keeping import kept_for_report

    if done and (lost := kept_for_report(search, done)) is not None:
        click.echo(f"warning: the report will not show this search: {lost}", err=True)


def _check_options(recipes: bool) -> None:
    """The two searches have options of their own. UsageError where one is given to the other."""
    ctx = click.get_current_context()

    def given(name: str) -> bool:
        return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE

    if recipes and ctx.meta.get(_ORDER):
        raise UsageError("--recipe chooses by --goal, not by a metric", hint="leave --minimize and --maximize out")
    for name in _OF_RANGES if recipes else _OF_RECIPES:
        if given(name):
            shown = f"--{_SHOWN.get(name, name)}"
            hint = "search the ranges of a TARGET for it" if recipes else "add --recipe auto, and name a MODEL"
            raise UsageError(f"{shown} {'cannot be given with' if recipes else 'needs'} --recipe", hint=hint)


def _conclude(search: Search, done: Sequence[Trial], *, write: bool, as_json: bool) -> int:
    from ..tune.trials import best, front

    chosen = best(done, search.objectives)
    written = False
    if chosen is not None and write:
        from ..tune.apply import write as written_to

        written = written_to(search.path, chosen.point)
    if as_json:
        click.echo(_json(search, done, [t.number for t in front(done, search.objectives)], chosen, written))
    else:
        click.echo("\n".join(_table(search, done)))
        if chosen is not None:
            said = _said(search, chosen)
            click.echo(f"best: {said}" if len(search.objectives) == 1 else f"balanced: {said}")
            if write:
                click.echo(f"wrote {search.path}" if written else f"{search.path} has these values already")
            else:
                click.echo("'--apply' writes these values to the Compressfile")
    if chosen is not None:
        return 0
    failed = all(trial.state == "failed" for trial in done)
    what = "every trial failed" if failed else "no trial keeps the gates, so nothing is chosen"
    click.echo(f"cbuild: error: {what}" if done else "cbuild: error: no trial was made", err=True)
    return 1 if failed else 3


def _said(search: Search, trial: Trial) -> str:
    return ", ".join(f"{label} {_text(value)}" for label, value in search.space.said(trial.point).items())


def _measured(search: Search, trial: Trial) -> list[str]:
    pairs = zip(search.objectives, trial.values, strict=False)
    return [number(value, "×" if objective.relative else objective.unit) for objective, value in pairs]


def _line(search: Search, trial: Trial) -> str:
    values = _measured(search, trial)
    names = [objective.metric for objective in search.objectives]
    outcome = ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=False))
    missed = f"{outcome}; {trial.reason}" if values else f"{trial.reason}; not measured further"
    said = {"feasible": outcome, "infeasible": missed, "failed": f"failed: {trial.reason}"}
    cached = "" if trial.ran or trial.state == "failed" else " (cached)"
    return f"trial {trial.number + 1}: {_said(search, trial)}: {said[trial.state]}{cached}"


def _table(search: Search, done: Sequence[Trial]) -> list[str]:
    """The front, or with one objective the best; what missed a gate or failed is counted."""
    from ..report.text.columns import framed
    from ..tune.trials import best, front

    shown = front(done, search.objectives)
    chosen = best(done, search.objectives)
    labels = [axis.label for axis in search.space.axes.values()]
    head = ["trial", *labels, *(objective.metric for objective in search.objectives), ""]
    rows = [
        [
            str(trial.number + 1),
            *(_text(value) for value in search.space.said(trial.point).values()),
            *_measured(search, trial),
            "chosen" if trial is chosen else "",
        ]
        for trial in shown
    ]
    counts = {state: sum(trial.state == state for trial in done) for state in ("feasible", "infeasible", "failed")}
    said = [f"{counts['feasible']} keep the gates", f"{counts['infeasible']} do not", f"{counts['failed']} failed"]
    numbers = range(1, len(head) - 1)
    table = framed([head, *rows], (0, *numbers)) if rows else []
    return [*table, f"{len(done)} trials: {', '.join(said)}"]


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _json(search: Search, done: Sequence[Trial], shown: list[int], chosen: Trial | None, written: bool) -> str:
    import json

    return json.dumps(
        {
            "target": search.target,
            "objectives": [
                {"metric": o.metric, "direction": o.direction, "relative": o.relative} for o in search.objectives
            ],
            "trials": [
                {
                    "trial": trial.number + 1,
                    "state": trial.state,
                    "parameters": search.space.said(trial.point),
                    "values": dict(zip([o.metric for o in search.objectives], trial.values, strict=False)),
                    "reason": trial.reason,
                    "ran": trial.ran,
                }
                for trial in done
            ],
            "front": [at + 1 for at in shown],
            "chosen": None if chosen is None else chosen.number + 1,
            "written": written,
        },
        ensure_ascii=False,
    )
