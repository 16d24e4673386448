"""Keys of an installed wheel cover the same code as those of a checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "plugin_keys.py"


def wheel(folder: Path) -> Path:
    """Build the project's wheel. hatchling takes what it needs from the environment, so there is no network."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for name in ("compressbuild", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def start(path: list[Path], root: Path) -> subprocess.Popen[str]:
    """Ask about a tree, in an interpreter that sees it, the libraries, and no editable install."""
    libraries = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    asked = {"path": [*map(str, path), *libraries], "root": str(root)}
    words = [sys.executable, "-I", "-S", str(SCRIPT), json.dumps(asked)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the plugin functions of a checkout, and those of the installed wheel, stand on."""
    folder = tmp_path_factory.mktemp("trees")
    site = folder / "site"
    with zipfile.ZipFile(wheel(folder)) as archive:
        archive.extractall(site)  # a pure wheel is installed by unpacking it
    checkout = folder / "source"
    processes = start([checkout, checkout / "plugins"], checkout / "plugins"), start([site], site)
    return answer(processes[0]), answer(processes[1])


def test_the_same_functions_have_the_same_digests(trees: tuple[dict[str, Any], dict[str, Any]]) -> None:
    checkout, installed = trees
    assert len(installed["digests"]) > 100
    assert installed["digests"] == checkout["digests"]


def test_an_edit_of_any_module_changes_the_same_keys(trees: tuple[dict[str, Any], dict[str, Any]]) -> None:
    checkout, installed = trees
    assert len(checkout["changed"]) > 100
    assert any("cbuild_kit" in path and len(keys) > 5 for path, keys in checkout["changed"].items())
    wrong = [path for path, keys in checkout["changed"].items() if installed["changed"].get(path) != keys]
    assert wrong == []
    assert installed["changed"].keys() == checkout["changed"].keys()


def test_the_same_versions_of_libraries_join_the_keys(trees: tuple[dict[str, Any], dict[str, Any]]) -> None:
    checkout, installed = trees
    assert installed["versions"] == checkout["versions"]
    libraries = {name for by in checkout["versions"].values() for versions in by.values() for name in versions}
    assert {"torch", "onnx", "numpy"} <= libraries
    assert "compressbuild" not in libraries
