"""``cbuild help``: what a technique, a backend or another record is, its parameters, an excerpt, and its page."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from inspect import getdoc
from typing import Any

import click

from ..api import Params
from ..errors import UsageError
from ..registry import Registry
from ..registry.parameters import Parameter, parameters
from ..words import did_you_mean
from . import completion
from .options import offered

__all__ = ["command", "explained", "families"]

_WIDTH = 100


def _completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from .main import COMMANDS

    return completion.beginning(incomplete, (*(n for known in families(offered()).values() for n in known), *COMMANDS))


@click.command("help", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", required=False, shell_complete=_completed)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> int:
    """Explain a technique, backend, metric, kind, source, destination or check: its parameters, an excerpt, its page.

    Without a NAME, list all of them. The name of a command shows that command's help.
    """
    registry = offered()
    if name is None:
        click.echo("\n".join(_listed(registry)))
        return 0
    found = [(what, known[name]) for what, known in families(registry).items() if name in known]
    if not found:
        return _elsewhere(ctx, registry, name)
    click.echo("\n\n".join("\n".join(explained(registry, what, record)) for what, record in found))
    return 0


def families(registry: Registry) -> dict[str, Any]:
    """What can be explained: what it is → name → record."""
    return {
        "technique": registry.techniques,
        "backend": registry.backends,
        "metric": registry.metrics,
        "kind": registry.kinds,
        "destination": registry.destinations,
        "executor": registry.executors,
        "source": registry.sources,
        "check": registry.checks,
    }


def _elsewhere(ctx: click.Context, registry: Registry, name: str) -> int:
    """A name that is no record's: a command, or else a mistake."""
    from .main import COMMANDS, cbuild

    found = cbuild.get_command(ctx, name)
    if found is not None:
        click.echo(found.get_help(click.Context(found, info_name=name, parent=ctx.parent)))
        return 0
    for (what, known), problem in registry.refused.items():
        if known == name:
            raise UsageError(f"{what} '{name}' cannot be used: {problem.message}", hint=problem.hint)
    if name in registry.platforms:
        backend = registry.platforms[name].backend
        raise UsageError(
            f"'{name}' is a platform of backend '{backend}'",
            hint=f"see 'cbuild help {backend}', and 'cbuild platforms' for what this machine can do for it",
        )
    guess = did_you_mean(name, [*(name for known in families(registry).values() for name in known), *COMMANDS])
    hint = f"did you mean '{guess}'?" if guess else "'cbuild help' lists every name"
    what = "technique, backend, metric, kind, source, destination, executor or check"
    raise UsageError(f"no {what} is called '{name}'", hint=hint)


# -- the list --------------------------------------------------------------------------------------------------------


def _listed(registry: Registry) -> Iterator[str]:
    for what, known in families(registry).items():
        owners = dict.fromkeys(registry.owner[what, name] for name in known)
        for owner in owners:
            yield f"{what}s of {owner}"
            own = [name for name in known if registry.owner[what, name] == owner]
            width = max(map(len, own)) + 2
            for name in own:
                yield _short(f"  {name:{width}}{_summary(known[name])}")
            yield ""
    yield "'cbuild help NAME' says more of each"


def _short(line: str) -> str:
    room = max(60, shutil.get_terminal_size((120, 0)).columns)
    return line if len(line) <= room else f"{line[: room - 2]} …"


def _summary(record: Any) -> str:
    """Of a record that has none: the first sentence of what its parameters say."""
    kind = getattr(record, "params", None)
    return getattr(record, "summary", "") or (_about(kind).partition("\n")[0] if kind is not None else "")


def _about(kind: type[Params]) -> str:
    return (getdoc(kind) or "").replace("``", "`")


# -- one record ------------------------------------------------------------------------------------------------------


def explained(registry: Registry, what: str, record: Any) -> Iterator[str]:
    """The lines of ``cbuild help`` on one record."""
    from ..registry.pages import excerpt, page

    yield f"{record.name}: {what} of {registry.owner[what, record.name]}"
    yield ""
    text = _about(record.params) if what in ("technique", "source") else _summary(record)
    for paragraph in text.split("\n\n"):
        yield from textwrap.wrap(paragraph, _WIDTH)
        yield ""
    yield from _facts(registry, what, record)
    field = {"backend": "settings", "destination": "options", "executor": "options"}.get(what, "params")
    settings = getattr(record, field, None)
    known = parameters(settings) if settings is not None else ()
    if known:
        yield ""
        yield "parameters" if field == "params" else field
        yield from _described(known, 2)
    written = excerpt(registry, what, record)
    if written:
        yield ""
        yield "excerpt"
        yield textwrap.indent(written.rstrip(), "  ")
    place = page(registry, what, record.name)
    if place:
        yield ""
        yield f"page  {place}"


def _facts(registry: Registry, what: str, record: Any) -> Iterator[str]:
    match what:
        case "technique":
            yield f"takes   {', '.join(record.consumes) or 'anything that runs'}"
            yield f"makes   {record.produces or 'the kind that it takes'}"
        case "backend":
            yield f"takes   {', '.join(record.consumes)}"
            yield f"makes   {record.produces}"
        case "metric":
            yield f"unit    {record.unit or 'none'}; {_better(record.direction)}"
            yield f"role    {record.role}" + (f", priority {record.priority}" if record.role != "detail" else "")
            if record.source:
                yield from _wrapped(f"source  {record.source}")
        case "destination":
            words = {"file": "a path, file://…", "*": "any other address"}
            yield f"takes   {', '.join(words.get(each, f'{each}://…') for each in record.schemes)}"
            yield f"holds   {'several artifacts, each under its name' if record.shared else 'one artifact'}"
        case "executor":
            taken = [*(["[user@]host"] if record.plain else []), *(f"{each}://…" for each in record.schemes)]
            yield f"takes   {', '.join(taken)}"
        case "check":
            yield from _wrapped(f"source  {record.reference}")
        case "source":
            yield f"of      {record.of}s" + (f", of kind {record.produces}" if record.produces else "")
        case "kind":
            yield f"files   {', '.join(record.files)}"
            for suffix in record.suffixes:
                yield f"source  models: {{net: {{file: net{suffix}}}}}"
            for verb, names in _users(registry, record.name).items():
                if names:
                    yield from _wrapped(f"{verb:8}{', '.join(names)}")
    if getattr(record, "nondeterministic", ""):
        yield from _wrapped(f"two builds may differ: {record.nondeterministic}")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, _WIDTH, subsequent_indent=" " * 8)


def _better(direction: str) -> str:
    return "neither direction is better" if direction == "none" else f"{direction} is better"


def _users(registry: Registry, kind: str) -> dict[str, list[str]]:
    both: list[Any] = [*registry.techniques.values(), *registry.backends.values()]
    return {
        "made by": [each.name for each in both if each.produces == kind],
        "read by": [each.name for each in both if kind in each.consumes],
    }


def _described(known: tuple[Parameter, ...], indent: int) -> Iterator[str]:
    pad = " " * indent
    for each in known:
        standing = "required" if each.default is None else f"default {each.default or 'none'}"
        yield from textwrap.wrap(
            f"{each.name}  ({each.type if not each.fields else 'settings'}; {standing})",
            _WIDTH,
            initial_indent=pad,
            subsequent_indent=pad + "    ",
        )
        yield from textwrap.wrap(each.description, _WIDTH, initial_indent=pad + "    ", subsequent_indent=pad + "    ")
        yield from _described(each.fields, indent + 4)
