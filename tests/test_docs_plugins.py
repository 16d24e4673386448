"""The plugin of docs/plugins.md is written out, installed, discovered and tested, as a reader would do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from installed import install, python

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+\.(?:py|toml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    files = BLOCK.findall((DOCS / "plugins.md").read_text())
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cbuild_reference" / "__init__.py").touch()  # empty, as the page says
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    install(tmp_path, project["name"], project["version"], project["entry-points"]["compressbuild"])
    return tmp_path


def run(plugin: Path, *arguments: str) -> str:
    done = python(plugin, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_passes_its_own_tests(plugin: Path) -> None:
    out = run(plugin, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert "5 passed" in out


def installed_wanda(plugin: Path) -> Path:
    install(plugin, "cbuild-wanda", "1.0", {"wanda": "cbuild_wanda"})
    return plugin


def test_the_technique_on_torch_models(plugin: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from compressbuild.api.testing import run_node\n"
        "from cbuild_wanda import Wanda\n"
        "from test_wanda import TestWanda\n"
        "model, world = TestWanda().subject(Path('model')), dict(datasets=TestWanda.datasets, kind='torch-model')\n"
        "node = run_node('cbuild_wanda:prune', model, Wanda(data='train'), Path('out'), **world,\n"
        "    factories=TestWanda.factories)\n"
        "assert node.facts == {'sparsity': 0.5}, node.facts\n"
        "assert 'sparse' in (node.out / 'model.json').read_text()\n"
    )
    run(installed_wanda(plugin), "-c", script)


@pytest.mark.slow
def test_the_technique_on_torch_models_keeps_its_contract(plugin: Path) -> None:
    out = run(installed_wanda(plugin), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wanda.py")
    assert "13 passed" in out


def test_its_manifest_is_cheap(plugin: Path) -> None:
    script = "import sys, cbuild_reference.manifest; print({'numpy', 'onnx'} & set(sys.modules))"
    assert run(plugin, "-c", script).strip() == "set()"


def test_its_code_has_digests(plugin: Path) -> None:
    script = (
        "from compressbuild.closure import code_digest_of_plugin as f\n"
        "print(*(f(f'cbuild_reference.{r}').files for r in ('threshold:prune', 'zeros:zeros')), sep='\\n')"
    )
    assert run(plugin, "-c", script).splitlines() == [
        "('cbuild_reference/__init__.py', 'cbuild_reference/params.py', 'cbuild_reference/threshold.py')",
        "('cbuild_reference/__init__.py', 'cbuild_reference/zeros.py')",
    ]


def test_the_code_of_the_platforms_page_runs(tmp_path: Path) -> None:
    settings, host = PYTHON.findall((DOCS / "platforms.md").read_text())
    run(tmp_path, "-c", f"{settings}\nassert InductorSettings(device='cuda').needs().gpu")
    out = run(tmp_path, "-c", host)
    assert "my-backend: needs the Python package no_such_runtime (not installed)" in out


def test_the_census_of_the_page_counts(tmp_path: Path) -> None:
    (code,) = [block for block in PYTHON.findall((DOCS / "plugins.md").read_text()) if "def census" in block]
    check = (
        "from compressbuild.api.testing import make_context\n"
        "here = Path('.')\n"
        "np.save('weight.npy', np.ones((2, 3), np.float32))\n"
        "found = census(make_context(here / 'out'), here)\n"
        "assert ([w.count for w in found.weights()], found.macs({}).value, found.traffic({}, 1)) == ([6], 6, 24)\n"
    )
    run(tmp_path, "-c", f"{code}\n{check}")
