"""``cbuild plugins new``: what it writes is a plugin whose own tests pass."""

from __future__ import annotations

import json
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


def test_a_new_kind_and_a_new_metric_build_as_their_readmes_say(tmp_path: Path) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    site.mkdir()
    project.mkdir()
    for name, kind in (("my-map", "kind"), ("my-mean", "answer-metric")):
        assert new(tmp_path, name, "--kind", kind, "--into", name).returncode == 0
        package = f"cbuild_{name.replace('-', '_')}"
        (tmp_path / name / package).rename(site / package)
        install(site, f"cbuild-{name}", "0.1.0", {name: f"{package}.manifest"})
    source = (tmp_path / "my-map" / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    (project / "net.table").write_text("[[9, 0, 0], [0, 9, 0], [0, 0, 9]]")
    (project / "loaders.py").write_text(
        "import numpy as np\n\ndef test():\n    labels = np.arange(60) % 3\n"
        "    x = np.eye(3, dtype='float32')[np.where(labels == 2, np.arange(60) % 2, labels)]\n    yield x, labels\n"
    )
    (project / "Compressfile").write_text(
        f"version: 1\n{source}datasets: {{test: {{loader: loaders:test}}}}\n"
        "evaluate: {data: test, metrics: [my-mean, macs, size]}\n"
        "targets: {small: {from: net, gates: {my-mean: {min: 0.6}}}}\n"
    )
    built = python(project, "-m", "compressbuild", "all", PYTHONPATH=f"{site}")
    assert built.returncode == 0, built.stdout + built.stderr
    assert "my-mean collapsed in class 2 (1.00 → 0.00) against the other classes" in built.stdout + built.stderr
    measured = json.loads((project / "build" / "small" / "metrics.json").read_text())["metrics"]
    assert (measured["my-mean"]["value"], measured["macs"]["value"]) == (pytest.approx(2 / 3), 9)


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
