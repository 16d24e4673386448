"""Bad command lines, help, and what a newcomer reads first."""

from __future__ import annotations

import pytest
from command import Work

from compressbuild.cli.main import COMMANDS
from compressbuild.compressfile.names import COMMANDS as RESERVED


def test_help(bare: Work):
    ran = bare("--help")
    assert ran.out.splitlines()[0] == "Usage: cbuild [OPTIONS] TARGET… | COMMAND"
    for command in COMMANDS:
        assert f"\n  {command}" in ran.out
    for code in ("0", "1", "2", "3", "4", "130"):
        assert f"\n  {code} " in ran.out
    assert bare("-h").out == ran.out
    assert bare("--version").out == "cbuild, version 0.1.0\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(bare: Work, command: str):
    ran = bare(command, "--help")
    assert ran.out.startswith(f"Usage: cbuild {command}")
    assert "Traceback" not in ran.text


def test_no_target_can_hide_a_command():
    assert set(COMMANDS) <= set(RESERVED)


def test_no_arguments(bare: Work):
    ran = bare(code=2)
    assert "Traceback" not in ran.text
    assert "TARGET" in ran.text


def test_without_a_compressfile(bare: Work):
    ran = bare("all", code=2)
    assert ran.err.startswith("error: there is no Compressfile")
    bare.write("Compressfile.example", "version: 1\n")
    assert "cp Compressfile.example Compressfile" in bare("all", code=2).err
    for command in (["list"], ["why", "x"], ["graph"], ["show", "x"], ["verify"], ["cache", "stats"]):
        assert "there is no Compressfile" in bare(*command, code=2).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["secnd"], "did you mean 'second'?"),
        (["nothing-like-it"], "targets: first, second"),
        (["show", "secnd"], "did you mean 'second'?"),
        (["why", "secnd"], "did you mean 'second'?"),
        (["graph", "secnd"], "did you mean 'second'?"),
        (["verify", "secnd"], "did you mean 'second'?"),
        (["zzz-*"], "zzz-*"),
        (["all", "--set", "vars.slat=3"], "did you mean 'salt'?"),
        (["all", "--set", "nonsense"], "PATH=VALUE"),
        (["all", "--set", "vars.salt=many"], "int"),
        (["all", "--frobnicate"], "--frobnicate"),
        (["all", "-j", "0"], "-j"),
        (["graph", "--format", "png"], "png"),
        (["cache", "gc", "--max-size", "lots"], "'lots' is not"),
        (["all", "-f", "absent/Compressfile"], "there is no absent/Compressfile"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage(built: Work, words: list[str], said: str):
    ran = built(*words, code=2)
    assert said in ran.err
    assert "Traceback" not in ran.text
    assert ran.out == ""


def test_bad_compressfile(toys: Work):
    toys.edit("Compressfile", "toy.copy", "toy.coppy")
    toys.edit("Compressfile", "baseline: first", "baseline: frist")
    for command in (["all"], ["list"], ["all", "-n"]):
        ran = toys(*command, code=2)
        assert "Compressfile:4:" in ran.err
        assert "did you mean 'first'?" in ran.err
        assert "^" in ran.err
    toys.edit("Compressfile", "baseline: frist", "baseline: first")
    ran = toys("all", code=2)
    assert ran.err.startswith("Compressfile:9:14: error: unknown technique 'toy.coppy'\n")
    assert "hint: did you mean 'toy.copy'?" in ran.err


def test_wrong_parameter(toys: Work):
    toys.edit("Compressfile", "note:", "nota:")
    ran = toys("all", code=2)
    assert "Compressfile:9:" in ran.err
    assert "did you mean 'note'?" in ran.err


def test_options_before_the_target(built: Work):
    assert built("-n", "all").out == built("all", "-n").out
    assert built("-n", "--set", "vars.salt=2", "first").out == built("first", "-n", "--set", "vars.salt=2").out
    assert built("build", "all", "-n").out == built("all", "-n").out


def test_another_file_and_directory(built: Work, tmp_path):
    other = Work(tmp_path / "other", toy=True)
    relative = built("-n", "all").out
    assert other("-n", "all", "-f", str(built.root / "Compressfile")).out == relative


def test_cache_from_the_environment(toys: Work, tmp_path):
    assert toys("-n", "all", CBUILD_CACHE=str(tmp_path / "empty")).out.startswith("run      f/source")
    assert "nothing to do" not in toys("all", CBUILD_CACHE=str(tmp_path / "empty")).out
    assert (tmp_path / "empty/cas").is_dir()


def test_reader_that_goes_away(process: Work):
    reading = process.start("schema")
    reading.stdout.read(1)
    reading.stdout.close()
    error = reading.stderr.read()
    reading.stderr.close()
    reading.wait(timeout=30)
    assert error == ""


def test_as_a_process(process: Work):
    """What the other tests of this room take for granted: the installed command does the same."""
    assert process("list").out.startswith("* first ")
    assert process("secnd", code=2).err.startswith("error: unknown target 'secnd'")
