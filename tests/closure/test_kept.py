"""Remembered closures: always those that a fresh look at the files gives."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from compressbuild.closure import CodeClosure, CodeIndex, kept
from compressbuild.digest import StatCache

TREE = {
    "kit/__init__.py": "",
    "kit/work.py": "from . import helper\nimport kit.space.deep\ndef more():\n    import extra\n",
    "kit/helper.py": "from kit.work import absent\nx = 1\n",
    "kit/space/deep.py": "y = 2\n",
    "kit/unused.py": "z = 3\n",
}


class Tree:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.memo = root.parent / "closures"
        for name, text in TREE.items():
            self.write(name, text)
        for folder, _, _ in os.walk(root):
            os.utime(folder, ns=(10**18, 10**18))  # so that the next change shows, however quick it is

    def write(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def look(self, *, memo: bool = True, stamp: str = "installed") -> CodeClosure:
        importlib.invalidate_caches()
        stat = StatCache(self.root.parent / "stat", self.root.parent)
        index = CodeIndex((), stat, memo=(self.memo, stamp) if memo else None)
        found = index.plugin("kit.work:work")
        assert set(found.paths) <= index.seen.keys()
        index.save()
        return found


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    found = Tree(tmp_path / "tree")
    found.write("kit/work.py", TREE["kit/work.py"] + "def work(): pass\n")
    os.utime(found.root / "kit", ns=(10**18, 10**18))
    monkeypatch.syspath_prepend(str(found.root))
    monkeypatch.setattr(kept, "_STARTED", 2**62)  # all of it is older than this process
    assert found.look() == found.look(memo=False)
    return found


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """References whose closure was made from the files."""
    found: list[str] = []
    real = CodeIndex._close

    def close(self: CodeIndex, reference: str, *arguments: object, **options: object) -> CodeClosure:
        found.append(reference)
        return real(self, reference, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(CodeIndex, "_close", close)
    return found


def edited_in_place(tree: Tree) -> None:
    """The same size and time, as copying with times leaves it."""
    path = tree.root / "kit" / "helper.py"
    before = path.stat()
    tree.write("kit/helper.py", TREE["kit/helper.py"].replace("x = 1", "x = 7"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


EDITS: dict[str, Callable[[Tree], object]] = {
    "an edit": lambda tree: tree.write("kit/helper.py", "x = 2\n"),
    "an edit in place": edited_in_place,
    "a new import": lambda tree: tree.write("kit/helper.py", "import kit.unused\n"),
    "a file that goes": lambda tree: (tree.root / "kit" / "helper.py").unlink(),
    "a package in a module's place": lambda tree: tree.write("kit/helper/__init__.py", "x = 5\n"),
    "an extension in a module's place": lambda tree: tree.write(f"kit/helper{EXTENSION_SUFFIXES[0]}", b"\x7fELF"),
    "a namespace that becomes a package": lambda tree: tree.write("kit/space/__init__.py", "n = 1\n"),
    "a package that becomes a namespace": lambda tree: (tree.root / "kit" / "__init__.py").unlink(),
    "an absent module that comes": lambda tree: tree.write("extra.py", "e = 1\n"),
    "a directory that goes": lambda tree: shutil.rmtree(tree.root / "kit" / "space"),
    "the function that goes": lambda tree: tree.write("kit/work.py", TREE["kit/work.py"]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_after_an_edit_it_is_what_the_files_say(tree: Tree, closed: list[str], edit: str) -> None:
    before = tree.look()
    assert closed == [], "it was remembered"
    EDITS[edit](tree)
    after = tree.look()
    assert closed == ["kit.work:work"]
    assert after == tree.look(memo=False)
    assert after != before
    assert tree.look() == after, "and what is remembered now is that"


def test_a_directory_before_it_on_the_path_is_seen(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Tree(tmp_path / "other").write("kit/work.py", "def work(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    found = tree.look()
    assert found == tree.look(memo=False)
    assert str(tmp_path / "other" / "kit" / "work.py") in found.paths


def test_a_change_of_what_is_installed_drops_it(tree: Tree, closed: list[str]) -> None:
    tree.look(stamp="upgraded")
    assert closed == ["kit.work:work"]


def test_without_a_stamp_nothing_is_remembered(tree: Tree, closed: list[str]) -> None:
    tree.memo.unlink()
    for _ in range(2):
        tree.look(stamp="")
    assert len(closed) == 2
    assert not tree.memo.exists()


@pytest.mark.parametrize("name", kept._CODE)
def test_other_code_of_the_engine_drops_it(
    tree: Tree, closed: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = kept.signature
    monkeypatch.setattr(kept, "signature", lambda path: (0, 0, 0, 0) if path.endswith(f"/{name}") else real(path))
    tree.look()
    assert closed == ["kit.work:work"]


def test_a_damaged_file_is_no_error(tree: Tree, closed: list[str]) -> None:
    whole = tree.memo.read_bytes()
    tree.memo.write_bytes(whole[:-5] + b"x" + whole[-4:])
    assert tree.look() == tree.look(memo=False)
    assert tree.memo.read_bytes() == whole


def test_young_directories_are_not_remembered(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change within a tick of the clock would not show in their stat."""
    tree.memo.unlink()
    monkeypatch.setattr(kept, "_STARTED", 0)
    tree.look()
    assert not tree.memo.exists()


def test_a_file_that_changes_meanwhile_is_not_remembered(tree: Tree) -> None:
    """Even if its old bytes are back: others may have been parsed."""
    tree.memo.unlink()
    index = CodeIndex((), memo=(tree.memo, "installed"))
    index.plugin("kit.work:work")
    helper = tree.root / "kit" / "helper.py"
    before = helper.stat()
    helper.unlink()
    tree.write("kit/helper.py", TREE["kit/helper.py"])
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(tree.root / "kit", ns=(10**18, 10**18))
    index.save()
    assert not tree.memo.exists()


def test_a_file_of_the_project_disturbs_no_plugin(tree: Tree, closed: list[str], tmp_path: Path) -> None:
    """What user code is imported from is listed, too, but not for plugins."""
    project = tmp_path / "project"
    project.mkdir()
    os.utime(project, ns=(10**18, 10**18))
    tree.memo.unlink()
    for _ in range(2):
        index = CodeIndex([project], memo=(tree.memo, "installed"))
        index.closure("model:build")
        index.plugin("kit.work:work")
        index.save()
        (project / "report.html").write_text("made meanwhile")
    assert closed == ["model:build", "kit.work:work", "model:build"]
