"""``__all__`` is what can be had, sorted; importing the package loads nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import compressbuild


def test_all_is_sorted_and_everything_in_it_exists() -> None:
    names = [name for name in compressbuild.__all__ if not name.startswith("_")]
    assert names == sorted(names)
    assert all(getattr(compressbuild, name) is not None for name in compressbuild.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = compressbuild.nothing


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import compressbuild; print(sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "['compressbuild']\n"


def test_the_library_builds_as_the_command_does(toy) -> None:
    toy.write("Compressfile", "version: 1\nmodels:\n  m: {file: f.txt}\ntargets:\n  t: {from: m, steps: [toy.copy]}\n")
    project = toy.open()
    project.environ = {**project.environ, "PYTHONPATH": str(__import__("toy").__file__.rpartition("/")[0])}
    events: list[object] = []
    report = compressbuild.build_targets(project, ["t"], observers=[events.append])
    project.close()
    assert (report.exit_code, report.targets[0].status) == (0, "published")
    assert toy.value("t") == "abc"
    assert type(events[0]).__name__ == "BuildStarted"
    assert type(events[-1]).__name__ == "BuildFinished"
