"""Data files of a plugin: what its code names counts, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import Work
from installed import install

from compressbuild.closure import CodeIndex
from compressbuild.closure.data import data_files

WAYS = {
    "with_name": "Path(__file__).with_name('table.json').read_text()",
    "joined": "(Path(__file__).parent / 'tables' / 'table').read_text()",
    "joinpath": "Path(__file__).parent.joinpath('tables', 'table').read_text()",
    "resources": "files(__package__).joinpath('tables/table.txt').read_text()",
    "pkgutil": "pkgutil.get_data(__package__, 'table.json').decode()",
    "open": "open(os.path.join(os.path.dirname(__file__), 'table.json')).read()",
}
MODULE = """\
import os, pkgutil
from importlib.resources import files
from pathlib import Path


def run(ctx, model, params):
    (ctx.out / "value").write_text({way})
"""
MANIFEST = """\
from compressbuild.api import Kind, Technique, hookimpl



@hookimpl
def compressbuild_kinds():
    yield Kind(name="words", files=("*",), suffixes=(".txt",))


@hookimpl
def compressbuild_techniques():
    yield Technique(name="words.table", run="words_plugin.code:run", produces="words")
"""
COMPRESSFILE = "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {t: {from: f, steps: [words.table]}}\n"


def plugin(site: Path, way: str) -> Path:
    """Installed, with a file for each way to name one."""
    package = site / "words_plugin"
    (package / "tables").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "manifest.py").write_text(MANIFEST)
    (package / "code.py").write_text(MODULE.format(way=way))
    for name in ("table.json", "tables/table", "tables/table.txt"):
        (package / name).write_text("first")
    (package / "README.md").write_text("first")
    install(site, "words-plugin", "1.0", {"words": "words_plugin.manifest"})
    return package


@pytest.mark.parametrize("way", WAYS)
def test_what_code_names_is_in_its_closure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    package = plugin(tmp_path / "site-packages", WAYS[way])
    monkeypatch.syspath_prepend(str(package.parent))
    before = CodeIndex(()).plugin("words_plugin.code:run")
    named = {os.path.relpath(path, package) for path in before.paths if not path.endswith(".py")}
    assert named
    assert "README.md" not in named
    for name in ("table.json", "tables/table", "tables/table.txt", "README.md"):
        (package / name).write_text("other")
        after = CodeIndex(()).plugin("words_plugin.code:run")
        assert (after.digest != before.digest) == (name in named), name
        (package / name).write_text("first")
    assert CodeIndex(()).plugin("words_plugin.code:run").digest == before.digest


@pytest.mark.parametrize(
    "literal", ["", "..", "/etc/passwd", "../secret.txt", "a/../../b.txt", "two words.txt", "code.py", "sub"]
)
def test_what_is_no_data_file(tmp_path: Path, literal: str) -> None:
    """Outside of the module's directory, a sentence, a module, a package."""
    package = tmp_path / "words"
    (package / "sub").mkdir(parents=True)
    (package / "sub" / "__init__.py").write_text("")
    for path in (package / "code.py", tmp_path / "secret.txt", package / "two words.txt", package / "sub" / "x.txt"):
        path.write_text(f"TEXT = __file__ / {literal!r}\n")
    index = CodeIndex((), siblings=lambda top: ())
    module = str(package / "code.py")
    assert list(data_files(module, index._read(module).texts)) == []


@pytest.mark.parametrize("sandbox", ["auto", "none"])
def test_a_change_of_a_data_file_runs_the_step_again(tmp_path: Path, sandbox: str) -> None:
    site = tmp_path / "site-packages"
    package = plugin(site, WAYS["with_name"])
    work = Work(tmp_path / "work")
    work.write("Compressfile", COMPRESSFILE)
    work.write("f.txt", "abc")
    world = {"PYTHONPATH": str(site), "CBUILD_SANDBOX": sandbox}
    assert "t/words.table" in work.json("t", **world).started
    assert (work.root / "build/t/value").read_text() == "first"
    assert work.json("t", **world).started == []
    (package / "README.md").write_text("other")
    assert work.json("t", **world).started == []
    (package / "table.json").write_text("second")
    assert work.json("t", **world).started == ["t/words.table"]
    assert (work.root / "build/t/value").read_text() == "second"
