"""Plugins that were built for another version of ``compressbuild.api``."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compressbuild.api import VERSION, Technique, record
from compressbuild.api.version import compare
from compressbuild.registry import Plugin, Registry, discover

MAJOR, MINOR = (int(part) for part in VERSION.split("."))
NEWER = f"{MAJOR}.{MINOR + 1}"
HEAD = "from compressbuild.api import *\n"
FIELDS = """
@hookimpl
def compressbuild_techniques():
    yield Technique(name="late.scale", run="late:scale", retries=3, stack=Stack(modules=("json",), channel="nightly"))
"""

Ask = Callable[[str], tuple[Registry, Plugin]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [f"late{number}_{tmp_path.name}" for number in range(9)]
    numbers = iter(names)

    def asked(source: str) -> tuple[Registry, Plugin]:
        name = next(numbers)
        (tmp_path / f"{name}.py").write_text(HEAD + source)
        registry = discover(cache=None, extra=[name])
        return registry, next(plugin for plugin in registry.plugins if plugin.name == name)

    yield asked
    for name in itertools.chain(names):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("version", "relation"),
    [
        (VERSION, "same"),
        (f"{MAJOR}.0", "same"),
        (NEWER, "newer"),
        (f"{MAJOR}.10", "newer"),
        (f"{MAJOR + 1}.0", "other"),
    ],
)
def test_versions_compare_as_numbers(version: str, relation: str) -> None:
    assert compare(version) == relation


def test_fields_of_a_newer_minor_are_passed_over(ask: Ask) -> None:
    registry, plugin = ask(f'API_VERSION = "{NEWER}"\n{FIELDS}')
    assert plugin.problem is None
    assert registry.techniques["late.scale"].stack.modules == ("json",)
    assert plugin.warnings == (
        f"Stack has no field 'channel' in version {VERSION} of compressbuild.api: it is ignored",
        f"Technique has no field 'retries' in version {VERSION} of compressbuild.api: it is ignored",
    )


@pytest.mark.parametrize("stated", ["", f'API_VERSION = "{VERSION}"\n'])
def test_for_anybody_else_such_a_field_is_a_mistake(ask: Ask, stated: str) -> None:
    registry, plugin = ask(stated + FIELDS)
    assert "late.scale" not in registry.techniques
    assert plugin.problem is not None
    assert "UnknownField: Stack has no field 'channel'" in plugin.problem.message
    assert plugin.problem.hint == "its fields: modules, tools, preload, install, environment"


def test_what_a_manifest_makes_at_once_is_treated_alike(ask: Ask) -> None:
    source = 'STACK = Stack(modules=("json",), channel="nightly")\n' + FIELDS.replace(
        'Stack(modules=("json",), channel="nightly")', "STACK"
    )
    registry, plugin = ask(f'{source}API_VERSION = "{NEWER}"\n')
    assert "late.scale" in registry.techniques
    assert [warning.partition(" in version")[0] for warning in plugin.warnings] == [
        "Stack has no field 'channel'",
        "Technique has no field 'retries'",
    ]
    _, plugin = ask(source)
    assert plugin.problem is not None
    assert plugin.problem.message.startswith("cannot be imported: UnknownField: Stack has no field 'channel' (")
    assert plugin.module not in sys.modules, "the next who imports it is refused, too"


def test_an_old_field_is_no_newer_one(ask: Ask) -> None:
    _, plugin = ask(f'API_VERSION = "{NEWER}"\n' + FIELDS.replace("retries=3", 'tools=("json",)'))
    assert plugin.problem is not None, "without it, a key would miss the versions"
    assert "Technique has no field 'tools'" in plugin.problem.message


def test_a_hook_of_a_newer_minor_is_not_called(ask: Ask) -> None:
    source = "@hookimpl\ndef compressbuild_publishers(): raise AssertionError('called')\n"
    _, plugin = ask(f'API_VERSION = "{NEWER}"\n{source}{FIELDS}')
    assert plugin.problem is None
    expected = f"implements 'compressbuild_publishers', a hook that version {VERSION} of the API does not call"
    assert expected in plugin.warnings
    _, plugin = ask(source)
    assert plugin.problem is not None
    assert plugin.problem.message == "implements an unknown hook 'compressbuild_publishers'"


@pytest.mark.parametrize(
    ("stated", "message", "hint"),
    [
        (
            f"'{MAJOR + 1}.0'",
            f"is built for version {MAJOR + 1}.0 of compressbuild.api, and this is version {VERSION}",
            "upgrade compressbuild",
        ),
        (
            "'0.9'",
            f"is built for version 0.9 of compressbuild.api, and this is version {VERSION}",
            f"install a release of it for version {VERSION}",
        ),
        ("'new'", "says API_VERSION = 'new', which is not a version", f"write API_VERSION = '{VERSION}'"),
        ("2", "says API_VERSION = '2', which is not a version", f"write API_VERSION = '{VERSION}'"),
    ],
)
def test_another_major_version_is_refused(ask: Ask, stated: str, message: str, hint: str) -> None:
    registry, plugin = ask(f"API_VERSION = {stated}\n{FIELDS}")
    assert plugin.problem is not None
    assert (plugin.problem.message, plugin.problem.hint) == (message, hint)
    assert plugin.broken
    assert "late.scale" not in registry.techniques


def test_a_name_that_the_api_does_not_have_yet(ask: Ask) -> None:
    _, plugin = ask("from compressbuild.api import Composer\n")
    assert plugin.problem is not None
    assert plugin.problem.message.startswith("cannot be imported: ImportError: cannot import name 'Composer'")
    assert (plugin.problem.hint or "").startswith(f"this is version {VERSION} of compressbuild.api")


def test_a_renamed_field_works_with_a_warning(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RENAMED", {"Technique": {"function": "run"}})
    source = FIELDS.replace('run="late:scale", retries=3', 'function="late:scale"').replace(', channel="nightly"', "")
    registry, plugin = ask(source)
    assert registry.techniques["late.scale"].run == "late:scale"
    assert plugin.warnings == ("Technique: the field 'function' is now called 'run'",)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert Technique(name="x", function="a:b").run == "a:b"  # type: ignore[call-arg]
    assert [(str(each.message), each.category, Path(each.filename).name) for each in seen] == [
        ("Technique: the field 'function' is now called 'run'", DeprecationWarning, Path(__file__).name)
    ]
