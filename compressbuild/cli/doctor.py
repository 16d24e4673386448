"""``cbuild doctor``: what this machine is, and what can be built and run on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from .. import __version__, place
from ..api.facts import FACTS
from ..api.needs import Needs
from ..api.stack import Stack
from ..environment import Environments
from ..errors import CbuildError
from ..execute import bubblewrap, landlock, sandbox
from ..platforms import Facts, Missing, check, install_line, probe
from ..registry import Registry
from ..words import memory
from .options import environments_here, offered

__all__ = ["command"]

_COLUMNS = 80
_PLAIN = ("made", "not made")
"""What there is to say of an environment that is in order."""


@click.command("doctor", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Also say in full what each thing needs and how to get it.")
def command(as_json: bool, verbose: bool) -> int:
    """Show the probed facts of this machine and, of each backend, whether it can compile and run here. Exit 1 if a
    plugin is broken."""
    registry, facts = offered(), probe()
    found = _examine(registry, facts, environments_here(registry))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    elif verbose:
        _print(found)
    else:
        _print_brief(found, len(registry.techniques))
    return 1 if found["problems"] else 0


def _examine(registry: Registry, facts: Facts, environments: Environments) -> dict[str, Any]:
    def state(stack: Stack, *needs: Needs) -> dict[str, Any]:
        return _state([*_lacks(facts, stack.needs, *needs), *environments.lacks(stack.environment)])

    return {
        "compressbuild": __version__,
        "python": {"version": ".".join(map(str, sys.version_info[:3])), "prefix": sys.prefix},
        "facts": {name: facts.get(name) for name in FACTS},
        "gpu": facts.gpu_reason if facts.get("gpu.name") is None else None,
        "backends": {
            name: {
                "compile": state(record.stack, record.compile_needs),
                "run": state(record.stack, record.run_needs),
            }
            for name, record in sorted(registry.backends.items())
        },
        "techniques": {
            name: found
            for name, record in sorted(registry.techniques.items())
            if not (found := state(record.stack, record.needs))["possible"]
        },
        "install": _install(registry, facts, environments),
        "problems": [f"plugin '{p.plugin}' {p.message}" + (f": {p.hint}" if p.hint else "") for p in registry.problems],
        "sandbox": _sandbox(),
        "bubblewrap": _bubblewrap(),
        "remote": _remote(),
        "limits": _limits(),
        "environments": _environments(environments) if environments.of_project else {},
    }


def _install(registry: Registry, facts: Facts, environments: Environments) -> str | None:
    """One line for every package that is all a backend or a technique lacks here."""
    wanted: list[tuple[Stack, Needs]] = [(each.stack, each.compile_needs) for each in registry.backends.values()]
    wanted += [(each.stack, each.needs) for each in registry.techniques.values()]
    wanted += [(each.stack, Needs()) for each in registry.metrics.values()]
    return install_line(
        [*_lacks(facts, stack.needs, needs), *environments.lacks(stack.environment)] for stack, needs in wanted
    )


def _lacks(facts: Facts, *needs: Needs) -> list[Missing]:
    return [lack for each in needs for lack in check(each, facts)]


def _state(missing: Sequence[Missing]) -> dict[str, Any]:
    return {
        "possible": not missing,
        "missing": [m.what for m in missing],
        "packages": list(dict.fromkeys(name for m in missing for name in m.modules)),
        "others": [m.what for m in missing if not m.modules],
        "install": "; ".join(dict.fromkeys(lack.hint for lack in missing if lack.hint)) or None,
    }


def _sandbox() -> str:
    """What keeps a step from files that its key does not cover, where the Compressfile leaves the choice."""
    asked = sandbox.wish(os.environ, "auto")
    kind, by = (sandbox.automatic(), "") if asked == "auto" else (asked, f", by {sandbox.VARIABLE}")
    if (why := sandbox.lack(kind)) is not None:
        return f"{kind}{by}, which cannot be had here: {why}"
    if kind == "landlock":
        version = landlock.version()
        return f"landlock (version {version}){by}: a step reads only what its key covers, libraries and the system"
    if kind == "bubblewrap":
        return f"bubblewrap ({bubblewrap.version()}){by}: a step sees only what its key covers, and no network"
    why = "" if by else f": {sandbox.lack('landlock')}, and {sandbox.lack('bubblewrap')}"
    return f"none{by}{why}; files that C code or another program opens are not seen"


def _bubblewrap() -> str:
    if (why := bubblewrap.lack()) is not None:
        return f"none: {why}"
    return f"{bubblewrap.version()}: 'sandbox: bubblewrap' hides all that a step's key does not cover, and the network"


def _remote() -> str | None:
    """The remote cache of the project here, and whether it answers; None if there is none."""
    path = Path(place.above() + place.NAME)
    if not path.is_file():
        return None
    from ..project import Project
    from ..remote.settings import Settings
    from ..remote.status import status

    try:
        settings = Settings.of(Project(path).spec, os.environ)
    except CbuildError as error:
        return f"unknown: {str(error).splitlines()[0]}"
    return status(settings, os.environ) if settings is not None else None


def _environments(environments: Environments) -> dict[str, str]:
    """Whether each environment is made, and as it was made, by the sizes and times of its files."""
    from ..environment.keeping import faults

    found: dict[str, str] = {}
    for name in environments.names:
        try:
            changed = faults(environments.directory(name), digests=False)
        except CbuildError as error:
            found[name] = f"unusable: {error}"
            continue
        first = f"{changed[0]}: 'cbuild env verify {name}' says more" if changed else "made"
        found[name] = "not made" if changed is None else first
    return found


def _limits() -> list[str]:
    """What of the system would get in the way of a build."""
    found = []
    if not Path("/proc/self/status").exists():
        found.append("there is no /proc: memory limits do not hold, and peak memory is not reported")
    if os.name != "posix":
        found.append("workers are forked, which this system does not support")
    return found


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value[:8])) + (f" and {len(value) - 8} more" if len(value) > 8 else "")
    return str(value)


def _print_brief(found: dict[str, Any], techniques: int) -> None:
    """A screen of 80 columns: a line for each fact, for each backend that packages could bring, one for the other
    backends, and one for all techniques."""
    python, facts = found["python"], dict(found["facts"])
    facts["os"] = f"{facts['os']}, {facts.pop('cpu.arch')}"
    facts["cpu.model"] = f"{facts['cpu.model']}, {facts.pop('cpu.count')} to use"
    rows = [
        (name, memory(value) if name in ("memory", "gpu.memory") and value else value)
        for name, value in facts.items()
        if found["gpu"] is None or not name.startswith("gpu.")
    ]
    rows += [("gpu", f"–  ({found['gpu']})")] if found["gpu"] else []
    held, _, why = found["sandbox"].partition(":")
    more = f"; bubblewrap {bubblewrap.version()} on request" if bubblewrap.lack() is None else ""
    rows += [("sandbox", found["sandbox"] if held == "none" and why else held + more)]
    rows += [("remote cache", found["remote"])] if found["remote"] else []
    width = max(len(name) for name in [*found["facts"], *found["backends"]])
    click.echo(f"compressbuild {found['compressbuild']}, Python {python['version']} in {python['prefix']}")
    for name, value in rows:
        click.echo(_row(name, value, width))
    click.echo()
    elsewhere = [name for name, state in found["backends"].items() if _is_elsewhere(state["compile"])]
    for name, state in found["backends"].items():
        if name not in elsewhere:
            click.echo(_row(name, _verdict(state["compile"], state["run"]), width))
    if elsewhere:
        click.echo(_row("not here", elsewhere, width))
    absent = found["techniques"].values()
    if absent:
        said = f"{len(absent)} of {techniques} unavailable: they need {_lacking(*absent)}"
        click.echo(_row("techniques", said, width))
    states = found["environments"]
    plain = {said: [name for name in states if states[name] == said] for said in _PLAIN if said in states.values()}
    if plain:
        click.echo(_row("environments", "; ".join(f"{said}: {', '.join(plain[said])}" for said in plain), width))
    for name, said in states.items():
        if said not in _PLAIN:
            click.echo(f"environment {name}  {said}")
    for line in (*found["problems"], *found["limits"]):
        click.echo(f"! {line}")
    if found["install"]:
        click.echo(f"to get what is missing: {found['install']}")
    if absent or any(not state["possible"] for states in found["backends"].values() for state in states.values()):
        click.echo("in full: cbuild doctor -v")


def _row(name: str, value: object, width: int) -> str:
    """One line of at most 80 columns; a list says how many of it are left out."""
    room = _COLUMNS - width - 2
    if isinstance(value, list):
        text = ", ".join(map(str, value))
        for kept in range(len(value) - 1, 0, -1):
            if len(text) <= room:
                break
            text = ", ".join(map(str, value[:kept])) + f" and {len(value) - kept} more"
    else:
        text = _shown(value)
    return f"{name:{width}}  " + (text if len(text) <= room else text[: room - 1] + "…")


def _is_elsewhere(compiles: dict[str, Any]) -> bool:
    """Whether no package would let a backend compile here."""
    return bool(compiles["packages"] and compiles["others"])


def _verdict(compiles: dict[str, Any], runs: dict[str, Any]) -> str:
    if compiles["possible"] and runs["possible"]:
        return "can compile, can run here"
    if compiles["possible"]:
        return f"can compile, cannot run here: needs {_lacking(runs)}"
    if runs["possible"]:
        return f"cannot compile, can run here: needs {_lacking(compiles)}"
    return f"needs {_lacking(compiles, runs)}"


def _lacking(*states: dict[str, Any]) -> str:
    """What is missing, in few words: packages by name, without where each was looked for."""
    packages = dict.fromkeys(name for state in states for name in state["packages"])
    others = dict.fromkeys(what.partition(" (")[0] for state in states for what in state["others"])
    return ", ".join([*packages, *others])


def _print(found: dict[str, Any]) -> None:
    python = found["python"]
    click.echo(f"compressbuild {found['compressbuild']}, Python {python['version']} in {python['prefix']}\n")
    width = max(map(len, [*found["facts"], *found["backends"]]))
    for name, value in found["facts"].items():
        shown = memory(value) if name in ("memory", "gpu.memory") and value else _shown(value)
        note = f"  ({found['gpu']})" if name == "gpu.name" and found["gpu"] else ""
        click.echo(f"{name:{width}}  {shown}{note}")
    click.echo(f"{'sandbox':{width}}  {found['sandbox']}")
    click.echo(f"{'bubblewrap':{width}}  {found['bubblewrap']}")
    click.echo(f"{'remote cache':{width}}  {found['remote'] or 'none'}\n")
    for name, state in found["backends"].items():
        verdicts = [f"{'can' if state[what]['possible'] else 'cannot'} {what}" for what in ("compile", "run")]
        click.echo(f"{name:{width}}  {', '.join(verdicts)} here")
        _print_missing(state, width)
    for name, state in found["techniques"].items():
        click.echo(f"{name:{width}}  unavailable")
        _print_missing({"": state}, width)
    for name, said in found["environments"].items():
        click.echo(f"environment {name}  {said}")
    for line in (*found["problems"], *found["limits"]):
        click.echo(f"! {line}")


def _print_missing(states: dict[str, dict[str, Any]], width: int) -> None:
    said = set()
    for what, state in states.items():
        lacking = "; ".join(state["missing"])
        if lacking and lacking not in said:
            said.add(lacking)
            click.echo(f"{'':{width}}    {f'to {what}, ' if what else ''}it needs {lacking}")
    for hint in dict.fromkeys(state["install"] for state in states.values() if state["install"]):
        click.echo(f"{'':{width}}    hint: {hint}")
