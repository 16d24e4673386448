"""``cbuild init``: a first Compressfile for a model, which plans at once and builds when its data is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import place
from ..errors import UsageError
from ..starter.choices import FAMILIES, GOALS
from . import completion
from .options import directory_option, environments_here

if TYPE_CHECKING:
    from ..platforms import Facts
    from ..registry import Registry
    from ..starter.data import Data
    from ..starter.inspection import Found
    from ..starter.model import Given
    from ..starter.writing import Plan

__all__ = ["check_train", "command", "complete"]


@click.command("init", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", required=False, shell_complete=completion.files)
@directory_option
@click.option(
    "--data",
    metavar="DATA",
    shell_complete=completion.files,
    help="An .npz, .csv or .jsonl, a folder of images, or a loader.",
)
@click.option("--platform", metavar="NAME", help="A backend or a platform of the catalogue (default: what runs here).")
@click.option("--goal", type=click.Choice(GOALS), default="balanced", show_default=True, help="What matters most.")
@click.option("--family", type=click.Choice(FAMILIES), help="What the model is, if it is taken for something else.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=SIZES[:TYPE]",
    help="An input of a factory's model: image=batch,3,224,224 (repeatable).",
)
@click.option(
    "--weights",
    metavar="FILE",
    shell_complete=completion.files,
    help="A safetensors file for a factory's model.",
)
@click.option("--train", is_flag=True, help="Train the factory's model first; for one that has no weights yet.")
@click.option("-f", "--file", "-o", "--output", "file", default=place.NAME, show_default=True, metavar="FILE",
              shell_complete=completion.files,
              help="Where to write; '-': print it.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    model: str | None,
    data: str | None,
    platform: str | None,
    goal: str,
    family: str | None,
    inputs: tuple[str, ...],
    weights: str | None,
    train: bool,
    file: str,
    force: bool,
) -> int:
    """Inspect MODEL and write a commented Compressfile with recipes that suit it.

    MODEL is a model file such as model.onnx, a Hugging Face directory, or the factory of a torch model as
    module:function. Without it, the only model in this directory is taken. The model is loaded in a worker.
    """
    path = Path(place.NAME) if file == "-" else Path(file)
    if file != "-" and os.path.lexists(path) and not force:
        raise UsageError(f"{file} is there already", hint="write elsewhere with -f FILE, or replace it with --force")
    was = path.read_bytes() if force and path.is_file() else None
    root = path.parent
    if not root.is_dir():
        raise UsageError(f"there is no directory '{root}'", hint="make it first")
    from ..platforms import probe
    from ..registry import discover
    from ..starter.inspection import inspect
    from ..starter.measures import measures
    from ..starter.model import candidate, given
    from ..starter.recipes import exporting, recipes, suitable, training
    from ..starter.writing import OWN_NAMES, Plan, free_name, text_of

    registry, facts = discover(), probe()
    known = recipes(registry)
    name, backend, settings, runs = _platform(platform, registry, facts)
    asks = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))  # None: it is closed
    found_model = free_name(given(model or candidate(root, registry), registry, root), (*OWN_NAMES, *known))
    if data is None and asks:
        data = click.prompt(
            "Data (.npz, .csv, a folder of images, module:function; empty: fill it in later)",
            default="", show_default=False, err=True,
        ) or None  # fmt: skip
    found_model, found_data = complete(found_model, data, inputs, weights, root, asks)
    check_train(train, found_model, found_data)
    consumes = registry.backend(backend).consumes
    export = None
    if found_model.kind not in consumes:
        export = exporting(known.values(), registry, found_model.kind, consumes)
        if export is None:
            raise UsageError(
                f"'{backend}' takes {', '.join(consumes)}, and no recipe leads there from {found_model.kind}",
                hint="choose another runtime with --platform: 'cbuild help NAME' says what it takes",
            )
    click.echo(f"inspecting {found_model.word} …", err=True)
    found = inspect(found_model, path)
    family = family or found.family
    plan = Plan(
        given=found_model,
        found=found,
        family=family,
        goal=goal,
        recipes=suitable(known.values(), registry, family, backend, goal, found_model.kind, found.operators),
        data=found_data,
        platform=name,
        settings=settings,
        consumes=consumes,
        runs=runs,
        measures=measures(registry, found_data, found_model.config),
        export=export,
        train=training(known.values(), found_model.kind) if train else None,
        few=True,
    )
    text = text_of(plan, registry)
    if file == "-":
        click.echo(text, nl=False)
        return 0
    _write(path, text, was)
    _say(plan, found, file)
    return 0


def _platform(word: str | None, registry: Registry, facts: Facts) -> tuple[str, str, dict[str, Any] | None, bool]:
    """Name, backend, settings (None: of the catalogue), and whether it can run here."""
    from msgspec.structs import fields

    from ..platforms import check
    from ..words import suggest

    environments = environments_here(registry)

    def lacks(name: str, *, run: bool) -> list[str]:
        record = registry.backend(name)
        needs = (record.stack.needs, record.compile_needs, *([record.run_needs] if run else []))
        found = [lack for each in needs for lack in check(each, facts)]
        return [lack.what for lack in (*found, *environments.lacks(record.stack.environment))]

    if word is None:
        shared = (record for record in registry.backends.values() if record.stack.environment is None)
        able = sorted(shared, key=lambda record: -record.priority)  # an environment is gigabytes that nobody asked for
        word = next((record.name for record in able if not lacks(record.name, run=True)), None)
        if word is None:
            raise UsageError(
                "no installed runtime can run on this machine", hint="'cbuild doctor' says what each of them lacks"
            )
    name: str = word
    settings: dict[str, Any] | None = None
    if word in registry.backends:
        record = registry.backends[word]
        backend, name = word, "cpu" if "cpu.isa" in record.compile_facts else word
        threads = {f.name: f.default for f in fields(record.settings)}.get("threads")
        settings = {"backend": word, **({"threads": threads} if isinstance(threads, int) else {})}
    elif word in registry.platforms:
        backend = registry.platforms[word].backend
    else:
        hint = suggest(word, [*registry.backends, *registry.platforms], otherwise="see 'cbuild platforms'")
        raise UsageError(f"no backend or platform is called '{word}'", hint=hint)
    if missing := lacks(backend, run=False):
        click.echo(f"note: '{word}' cannot be compiled for here: needs {', '.join(missing)}", err=True)
    return name, backend, settings, not lacks(backend, run=True)


def complete(
    model: Given, data: str | None, inputs: tuple[str, ...], weights: str | None, root: Path, asks: bool
) -> tuple[Given, Data | None]:
    """The inputs of a factory's model: as said, else as the data has them, else as the user answers."""
    import msgspec

    from ..starter.data import opened
    from ..starter.model import inside_of, parse_input

    entry = dict(model.entry)
    if not model.factory and (inputs or weights):
        raise UsageError(
            f"'{model.word}' says its inputs and weights itself", hint="--input and --weights are for a factory"
        )
    if weights is not None:
        if not Path(weights).is_file():
            raise UsageError(f"there is no '{weights}'", hint="--weights names a safetensors file")
        entry["weights"] = inside_of(weights, root)
    said = dict(map(parse_input, inputs))
    sizes = [each["shape"] for each in said.values() if len(each["shape"]) == 4]
    pixels = sizes[0][-1] if sizes and isinstance(sizes[0][-1], int) else None
    found = opened(data, model, root, pixels) if data is not None else None
    if model.factory:
        if not said and found is not None:
            said = {
                name: {
                    "shape": ["batch", *array.shape[1:]],
                    "dtype": "float32" if "divide" in found.entry or array.dtype == "float64" else array.dtype,
                }
                for name, array in found.inputs.items()
            }
        if not said and asks:
            answer = click.prompt("Input of the model (image=batch,3,224,224)", err=True)
            said = dict([parse_input(answer)])
        if not said:
            raise UsageError(
                f"the inputs of '{model.word}' are not known",
                hint="name each: --input image=batch,3,224,224; or give --data FILE.npz, whose arrays say it",
            )
        entry["inputs"] = said
    return msgspec.structs.replace(model, entry=entry), found


def check_train(train: bool, model: Given, data: Data | None) -> None:
    if not train:
        return
    if not model.factory:
        raise UsageError(f"'{model.word}' cannot be trained first", hint="--train is for the factory of a torch model")
    if data is None or not data.rows or not data.classes:
        raise UsageError(
            "--train needs labelled data that can be split", hint="give --data, such as an .npz with 'label'"
        )


def _write(path: Path, text: str, was: bytes | None) -> None:
    """``was``: what the file holds that is replaced, None if there was none."""
    from ..compressfile.replacing import replace

    if was is not None:
        replace(path, text.encode(), was)
        return
    from ..whole import write_new

    try:
        write_new(str(path), text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _say(plan: Plan, found: Found, file: str) -> None:
    from ..words import number

    if found.macs is None:
        click.echo("note: a first run of the model failed, as said above: check its inputs before you build", err=True)
    axes = f" ({', '.join(f'{name} {size}' for name, size in found.axes.items())})" if found.axes else ""
    macs = f", {number(found.macs)} MACs a sample{axes}" if found.macs is not None else ""
    click.echo(f"{plan.given.name}: {plan.family}, {found.parameters:,} parameters ({number(found.size, 'B')}){macs}")
    for name, operator, shape, count, _ in found.largest:
        share = 100 * count / max(1, found.parameters)
        click.echo(f"  {share:3.0f} %  {name}  {operator} {'×'.join(map(str, shape))}")
    if found.time is not None:
        where = ", ".join(f"{operator} {share:.0%}" for operator, share in found.time.operators)
        click.echo(f"time: {number(found.time.us / 1000, 'ms')} a sample here ({found.time.runtime}): {where}")
        for name, operator, share in found.time.layers:
            click.echo(f"  {100 * share:3.0f} %  {name}  {operator}")
    names = [recipe.name if plan.ready(recipe) else f"{recipe.name} (to fill)" for recipe in plan.recipes]
    click.echo(f"recipes for goal {plan.goal} on {plan.platform}: {', '.join(names) or 'none'}")
    click.echo(f"wrote {file}" + ("; its data is to fill: see 'TO FILL' in it" if plan.data is None else ""))
    option = "" if file == place.NAME else f" -f {file}"
    click.echo(f"next: cbuild -n all{option}")
