"""``cbuild plugins new``: what it writes is a plugin whose own tests pass."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from installed import install, python

from compressbuild.scaffold import KINDS


def new(place: Path, *arguments: str):
    return python(place, "-m", "compressbuild", "plugins", "new", *arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    made = new(tmp_path, "try.it-out", "--kind", kind, "--into", "made")
    assert (made.returncode, made.stderr) == (0, "")
    plugin = tmp_path / "made"
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    install(plugin, project["name"], project["version"], project["entry-points"]["compressbuild"])
    done = python(plugin, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "failed" not in done.stdout
    listed = python(plugin, "-m", "compressbuild", "plugins")
    assert "try-it-out  (cbuild-try-it-out 0.1.0, cbuild_try_it_out.manifest)" in listed.stdout
    assert {path.name for path in plugin.iterdir()} >= {"README.md", "pyproject.toml", ".github", "tests"}


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "cbuild-mine").mkdir()
    (tmp_path / "cbuild-mine" / "notes").write_text("kept")
    refused = new(tmp_path, "mine", "--kind", "metric")
    assert refused.returncode == 2
    assert "'cbuild-mine' already exists" in refused.stderr
    assert [path.name for path in (tmp_path / "cbuild-mine").iterdir()] == ["notes"]


def test_a_name_that_no_record_may_have_is_refused(tmp_path: Path) -> None:
    refused = new(tmp_path, "Prune_Rows", "--kind", "technique")
    assert refused.returncode == 2
    assert "'Prune_Rows' cannot be the name of a plugin" in refused.stderr
    assert list(tmp_path.iterdir()) == []
