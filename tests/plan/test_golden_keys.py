"""The keys of a project are those of a golden file: with every Python, in every place, from a wheel as from a checkout.

A key covers the Python version, for code may behave otherwise with another. All the rest of it is compared.
``CBUILD_UPDATE_GOLDEN=1`` writes the file; keys that change make everybody build everything once more.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installed import install

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "golden_keys"
GOLDEN = HERE / "keys.json"
VERSION = "import blake3, click, grandalf, msgspec, networkx, pluggy, yaml, rich, sys; print(*sys.version_info[:2])"
"""Fails where something is missing that the engine needs."""
AROUND = [
    {},
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Pacific/Kiritimati"},
    {
        "PYTHONHASHSEED": "4294967295",
        "LC_ALL": "tr_TR.UTF-8",
        "LANG": "tr_TR.UTF-8",
        "HOME": "/",
        "PYTHONOPTIMIZE": "1",
    },
]


def placed(root: Path, *, backwards: bool = False) -> Path:
    """The project in ``root``; its files are made in this or the other order."""
    for path in sorted((HERE / "project").rglob("*"), reverse=backwards):
        if path.is_file():
            to = root / path.relative_to(HERE / "project")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
    return root


def ask(python: str, project: Path, path: list[Path], around: dict[str, str]) -> dict[str, str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), **around}
    ran = subprocess.run(
        [python, str(HERE / "ask.py"), str(project)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, str] = json.loads(ran.stdout)
    return found


@functools.cache
def others() -> tuple[str, ...]:
    """Interpreters of other versions that have what the engine needs: ``python3.X`` on PATH, and CBUILD_PYTHONS."""
    named = os.environ.get("CBUILD_PYTHONS", "").split(os.pathsep)
    found = {}
    for python in filter(None, [*named, *(shutil.which(f"python3.{minor}") for minor in range(11, 16))]):
        tried = subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=False)
        if tried.returncode == 0 and tried.stdout.split() != list(map(str, sys.version_info[:2])):
            found.setdefault(tried.stdout, python)
    return tuple(found.values())


def checkout() -> list[Path]:
    return [ROOT, HERE / "plugin"]


def wheels(folder: Path) -> list[Path]:
    """Where the wheel of the project and the plugin are installed."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    site = folder / "site"
    shutil.unpack_archive(built, site, "zip")
    plugin = folder / "plugin"
    shutil.copytree(HERE / "plugin", plugin)
    install(plugin, "gold", "1.0", {"gold": "gold"})
    return [site, plugin]


def test_keys_are_the_golden_ones(tmp_path: Path) -> None:
    found = ask(sys.executable, placed(tmp_path / "first"), checkout(), {})
    if os.environ.get("CBUILD_UPDATE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())
    again = placed(tmp_path / "another place" / "№ 2", backwards=True)
    assert ask(sys.executable, again, checkout(), AROUND[1]) == found


def test_another_python(tmp_path: Path) -> None:
    if not others():
        pytest.skip("no other Python on PATH or in CBUILD_PYTHONS has the engine's dependencies")
    assert ask(others()[-1], placed(tmp_path / "project"), checkout(), AROUND[2]) == json.loads(GOLDEN.read_text())


@pytest.mark.slow
def test_every_python_from_wheel_and_checkout(tmp_path: Path, record_property) -> None:
    golden, tried = json.loads(GOLDEN.read_text()), 0
    (tmp_path / "wheel").mkdir()
    for path in (checkout(), wheels(tmp_path / "wheel")):
        for python in (sys.executable, *others()):
            for number, around in enumerate(AROUND):
                project = placed(tmp_path / f"project {tried}", backwards=bool(number % 2))
                assert ask(python, project, path, around) == golden, (python, path, around)
                tried += 1
    record_property("tried", tried)
