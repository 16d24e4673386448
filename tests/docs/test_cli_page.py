"""docs/cli.md has every command, option, event and exit status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import get_args, get_type_hints

import click
import msgspec
import pytest
from pages import ROOT, tables

from compressbuild import errors
from compressbuild.build.outcome import TargetReport
from compressbuild.cli.main import COMMANDS
from compressbuild.execute import events
from compressbuild.registry import discover

PAGE = (ROOT / "docs" / "cli.md").read_text()
SHARED = PAGE.partition("\n## build\n")[0]


def section(name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section of '{name}'"
    return found[1]


def _commands() -> Iterator[tuple[str, str, click.Command]]:
    """(section, command as typed, command) for each, and for those of a group."""
    for name in COMMANDS:
        command = import_module(f"compressbuild.cli.{name}").command
        if isinstance(command, click.Group):
            yield from ((name, f"{name} {sub}", each) for sub, each in command.commands.items())
        else:
            yield name, name, command


ALL = list(_commands())


@pytest.mark.parametrize(("place", "typed", "command"), ALL, ids=[typed for _, typed, _ in ALL])
def test_every_command_and_option_is_there(place: str, typed: str, command: click.Command) -> None:
    text = section(place)
    assert f"cbuild {typed}" in text
    words = [word for option in command.params if isinstance(option, click.Option) for word in option.opts]
    assert [word for word in words if f"`{word}`" not in text + SHARED] == []


@pytest.mark.parametrize("command", [c for _, _, c in ALL], ids=[typed for _, typed, _ in ALL])
def test_every_option_has_a_help_text(command: click.Command) -> None:
    assert command.help
    assert [o.name for o in command.params if isinstance(o, click.Option) and not o.help] == []


def test_every_section_is_in_the_contents() -> None:
    sections = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert len(sections) > 20
    assert [name for name in sections if f"- [{name}](#" not in SHARED and f" [{name}](#" not in SHARED] == []


def test_no_option_is_there_that_does_not_exist() -> None:
    real = {w for _, _, c in ALL for o in c.params if isinstance(o, click.Option) for w in o.opts}
    said = set(re.findall(r"`(--?[a-z][\w-]*)", PAGE))
    assert said - real <= {"-h", "--help", "--version"}


def test_every_event_and_field_is_there() -> None:
    rows = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for t in tables(section("build")) for row in t}
    for event in get_args(events.Event):
        fields = {field.encode_name for field in msgspec.structs.fields(event)} - {"time"}
        assert rows[event.__struct_config__.tag] == fields


def test_every_status_is_there() -> None:
    text = section("build")
    target = get_args(get_type_hints(TargetReport)["status"])
    assert len(target) > 4
    assert [s for s in (*get_args(events.NodeStatus), *target) if f"`{s}`" not in text] == []


def test_every_exit_status_is_there() -> None:
    (table,) = tables(section("Exit status"))
    codes = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CbuildError)}
    missed_a_gate = 3  # the exit status of a build's outcome; nothing is raised
    assert {int(row[0]) for row in table[1:]} == codes | {0, missed_a_gate}


def test_the_sample_of_plugins_is_what_they_offer() -> None:
    """Every name of each, and nothing broken. What a machine lacks (``!``) is that of some machine."""
    sample = re.search(r"^\$ cbuild plugins\n(.*?)^```$", section("plugins"), re.MULTILINE | re.DOTALL)
    assert sample is not None
    said = {
        (kind.removesuffix("s"), name): plugin
        for plugin, lines in re.findall(r"^([\w-]+)  \(compressbuild .*\)\n((?:  .*\n)+)", sample[1], re.MULTILINE)
        for kind, names in re.findall(r"^  ([a-z]+) +(.*)$", lines, re.MULTILINE)
        for name in names.split(", ")
    }
    assert said == {record: plugin for record, plugin in discover(cache=None).owner.items() if plugin in said.values()}
    assert len(set(said.values())) > 8
    assert "cannot be imported" not in sample[1]
