"""What the shell offers while a command line is typed: through click, and in real shells."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from shells import Shell

from compressbuild.cli.main import COMMANDS, cbuild
from compressbuild.registry import discover
from compressbuild.scaffold import KINDS

COMPRESSFILE = "version: 1\nmodels: {m: {file: f.txt}}\ntargets: {small: {from: m}}\ngroups: {both: [small]}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "other").mkdir()
    (tmp_path / "f.txt").write_text("abc")
    (tmp_path / "Compressfile").write_text(COMPRESSFILE)
    (tmp_path / "other" / "Compressfile").write_text(COMPRESSFILE.replace("small", "smaller"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*line: str) -> list[str]:
    """What the last word may become."""
    shell = BashComplete(cbuild, {}, "cbuild", "_CBUILD_COMPLETE")
    return [item.value for item in shell.get_completions(list(line[:-1]), line[-1])]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("li", ["list"]),
        ("s", ["show", "sign", "sbom", "skill", "schema", "small"]),
        ("bo", ["both"]),
        ("--ke", ["--keep-going"]),
        ("--ver", ["--version", "--verbose"]),
        ("--keep-going s", ["show", "sign", "sbom", "skill", "schema", "small"]),
        ("-n small s", ["small"]),
        ("small --re", ["--remeasure"]),
        ("-f Compressfile sm", ["small"]),
        ("-f other/Compressfile sm", ["smaller"]),
        ("show -f other/Compressfile sm", ["smaller"]),
        ("build s", ["small"]),
        ("why bo", ["both"]),
        ("show b", []),
        ("compare small s", ["small"]),
        ("verify --target s", ["small"]),
        ("show zz", []),
        ("-f missing sm", []),
        ("graph --fo", ["--format"]),
        ("help quantize.st", ["quantize.static"]),
        ("help onnxruntime-m", ["onnxruntime-model"]),
        ("help top", ["top1", "top5"]),
        ("help sche", ["schema"]),
        ("recipes stat", ["static-int8"]),
        ("plugins n", ["new"]),
        ("plugins new rows --kind ", list(KINDS)),
        ("cache g", ["gc"]),
    ],
)
def test_offers(project: Path, line: str, expected: list[str]) -> None:
    assert offered(*line.split(" ")) == expected


def test_every_command_that_takes_a_target_offers_it(project: Path) -> None:
    """Whatever its argument is called. ``help`` offers what it explains."""
    taking = {}
    for name in COMMANDS:
        command = cbuild.get_command(click.Context(cbuild), name)
        assert command is not None
        if any(isinstance(parameter, click.Argument) for parameter in command.params):
            taking[name] = offered(name, "sma")
    expected = {
        "build",
        "push",
        "affected",
        "watch",
        "why",
        "show",
        "compare",
        "history",
        "tune",
        "report",
        "profile",
        "advise",
        "graph",
        "verify",
        "sign",
        "sbom",
    }
    assert taking == {
        **{name: ["small"] for name in expected},
        "help": [],
        "recipes": [],
        "init": ["sma"],
    }  # a file's name is the shell's to find


def test_help_offers_all_that_it_explains(project: Path) -> None:
    registry = discover()
    explained = {*registry.techniques, *registry.backends, *registry.metrics, *registry.kinds, *COMMANDS}
    explained |= {*registry.sources, *registry.destinations, *registry.checks, *registry.executors}
    found = offered("help", "")
    assert len(found) == len(explained)
    assert set(found) == explained


def test_files_and_directories_are_left_to_the_shell(project: Path) -> None:
    shell = BashComplete(cbuild, {}, "cbuild", "_CBUILD_COMPLETE")
    for line, kind in [
        ("-f x", "file"),
        ("show -f x", "file"),
        ("list --cache-dir x", "dir"),
        ("all --trace x", "file"),
        ("report -o x", "file"),
        ("verify --key x", "file"),
        ("verify oth", "dir"),
    ]:
        *words, last = line.split()
        assert [(item.type, item.value) for item in shell.get_completions(words, last)] == [(kind, last)], line


def test_a_broken_compressfile_is_no_noise(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "Compressfile").write_text("version: 1\ntargets: {small: {from: nothing}}\n")
    assert offered("show", "sm") == []
    assert offered("li") == ["list"]
    assert capfd.readouterr() == ("", "")


# name → (how to start it, what to tell it before)
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(_CBUILD_COMPLETE=bash_source cbuild)"'),
    "zsh": (["-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(_CBUILD_COMPLETE=zsh_source cbuild)"'),
    "fish": (["--no-config", "-i"], "_CBUILD_COMPLETE=fish_source cbuild | source"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A real shell with the script of ``docs/cli.md``. Its ``cbuild`` says what it was given, unless it completes."""
    if shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param}")
    place = tmp_path_factory.mktemp("bin")
    command = place / "cbuild"
    command.write_text(
        f'#!/bin/sh\ntest -n "$_CBUILD_COMPLETE" && exec {sys.executable} -m compressbuild "$@"\n'
        "printf 'given'; printf '<%s>' \"$@\"; echo\n"
    )
    command.chmod(0o755)
    options, setup = SHELLS[request.param]
    env = {
        **os.environ, "PATH": f"{place}:{os.environ['PATH']}", "HOME": str(place), "TERM": "dumb", "PS1": "$ ",
        "XDG_CONFIG_HOME": str(place), "XDG_DATA_HOME": str(place),
    }  # fmt: skip
    with Shell([request.param, *options], project, env) as opened:
        opened.type(f"{setup}; cbuild ready\n")
        opened.until("given<ready>")
        yield opened


def test_in_a_shell(shell: Shell, project: Path) -> None:
    """A group, a tag and a technique."""
    (project / "Compressfile").write_text(
        COMPRESSFILE.replace("{small: {from: m}}", "{small: {from: m, tags: [edge, phone]}}")
    )
    for line, whole in [
        ("why bo", "<why><both>"),
        ("tag:ed", "<tag:edge>"),
        ("help quantize.st", "<help><quantize.static>"),
    ]:
        shell.type(f"cbuild {line}\t")
        shell.until(whole.rpartition("<")[2].rstrip(">").rpartition(":")[2])
        shell.type("\n")
        shell.until(f"given{whole}")
