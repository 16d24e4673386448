"""The no-op: it may say "nothing to do" only while that is so. Whatever the build looked at, a change of it is seen."""

from __future__ import annotations

import ast
import marshal
import os
import sys
import time
from array import array
from pathlib import Path

import pytest
from command import TOY_PATH, Inline, Work

from compressbuild import noop, place

TEXT = """\
version: 1
env: [FLAVOUR]
models: {f: {file: f.txt}}
datasets: {d: {loader: "loaders:rows", files: [data]}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [toy.mix]}
  b: {from: a, steps: [{toy.copy: {data: d}}]}
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Inline:
    work = Inline(tmp_path_factory.mktemp("noop") / "project", toy=True)
    work.write("Compressfile", TEXT)
    work.write("f.txt", "abc")
    work.write("data/rows.txt", "1 2 3")
    work.write("loaders.py", "from helpers import read\n\n\ndef rows():\n    return read()\n")
    work.write(
        "helpers.py",
        "import os\nimport string\n\n\ndef read():\n    here = os.path.dirname(__file__)\n"
        "    for name in sorted(os.listdir(here + '/data')):\n"
        "        with open(here + '/data/' + name) as file:\n            yield file.read()\n",
    )
    return work


@pytest.fixture
def project(first: Inline, tmp_path: Path) -> Inline:
    """Built here, so that the state speaks of this directory."""
    work = first.copy(tmp_path / "project")
    work("all")
    assert is_noop(work, "all")
    return work


def is_noop(work: Inline, *args: str, **env: str) -> bool:
    """Whether the fast path answers ``cbuild args``."""
    with work.world(*args, **env):
        return noop.check(list(args)) is not None


def test_says_what_a_build_of_nothing_says(project: Inline):
    slow = project("all")  # Inline always takes the long way
    process = Work(project.root, toy=True)
    process("all")  # another search path
    quick = process("all", PYTHONPROFILEIMPORTTIME="1")
    assert "click" not in quick.err
    assert quick.out == slow.out == "2 of 2 targets up to date (nothing to do, 5 nodes cached)\n"


EDITS = {
    "the Compressfile": lambda w: w.edit("Compressfile", "toy.mix", "toy.mix: {salt: 3}}"[:-1]),
    "a model file": lambda w: w.write("f.txt", "abd"),
    "a listed file": lambda w: w.write("data/rows.txt", "1 2 4"),
    "a new file in a listed directory": lambda w: w.write("data/more.txt", "5"),
    "a file removed from a listed directory": lambda w: (w.root / "data/rows.txt").rename(w.root / "rows.txt"),
    "user code": lambda w: w.write("loaders.py", (w.root / "loaders.py").read_text() + "\n\nx = 1\n"),
    "imported code": lambda w: w.write("helpers.py", (w.root / "helpers.py").read_text() + "\n\nx = 1\n"),
    "a package that shadows imported code": lambda w: w.write("helpers/__init__.py", "def read():\n    return ['0']\n"),
    "a module that shadows the standard library": lambda w: w.write("string.py", "x = 1\n"),
    "a published file": lambda w: w.write("build/b/value", "wrong"),
    "published metrics": lambda w: w.write("build/b/metrics.json", "{}"),
    "provenance": lambda w: (w.root / "build/b/provenance.json").unlink(),
    "an extra published file": lambda w: w.write("build/b/extra", ""),
    "a published directory gone": lambda w: (w.root / "build/a").rename(w.root / "build/elsewhere"),
    "everything published gone": lambda w: w.unpublish(),
    "the cache gone": lambda w: (w.root / "cache").rename(w.root / "gone"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_change_is_seen(project: Inline, what: str):
    EDITS[what](project)
    assert not is_noop(project, "all")


def test_every_record_and_object_is_watched(project: Inline):
    files = [p for base in ("ac", "cas") for p in (project.root / "cache" / base).rglob("*") if p.is_file()]
    assert len(files) >= 12
    for path in files:
        aside = path.with_suffix(".aside")
        path.rename(aside)
        assert not is_noop(project, "all"), path
        aside.rename(path)
        project("all")
        assert is_noop(project, "all")


def test_same_size_and_mtime_do_not_deceive(project: Inline):
    path = project.root / "f.txt"
    info = path.stat()
    path.write_text("abX")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert not is_noop(project, "all")


def test_environment(project: Inline):
    assert not is_noop(project, "all", FLAVOUR="strawberry")
    assert not is_noop(project, "all", CBUILD_CACHE="/elsewhere")
    assert is_noop(project, "all", UNRELATED="x")
    project("all", FLAVOUR="strawberry")
    assert is_noop(project, "all", FLAVOUR="strawberry")
    assert not is_noop(project, "all", FLAVOUR="vanilla")


def test_other_command_lines(project: Inline):
    for words in (["a"], ["all", "--set", "vars.x=1"], ["all", "-n"], ["all", "-k"], ["all", "-v"], [], ["list"]):
        assert not is_noop(project, *words), words
    project("a", "-j2")
    assert is_noop(project, "a", "-j2")
    assert is_noop(project, "all")  # both are remembered


def test_installing_a_plugin_is_seen(project: Inline, tmp_path: Path):
    site = tmp_path / "site"
    site.mkdir()
    path = f"{site}:{TOY_PATH}"
    project("all", PYTHONPATH=path)
    assert is_noop(project, "all", PYTHONPATH=path)
    info = site / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    assert not is_noop(project, "all", PYTHONPATH=path)


def test_editing_a_plugin_is_seen(project: Inline, tmp_path: Path):
    import shutil

    site = tmp_path / "site"
    shutil.copytree(TOY_PATH.split(os.pathsep)[1], site)
    shutil.copy(Path(TOY_PATH.split(os.pathsep)[0]) / "toy.py", site / "toy.py")
    work = Work(project.root)
    path = {"PYTHONPATH": str(site)}
    work("all", **path)
    assert "click" not in work("all", PYTHONPROFILEIMPORTTIME="1", **path).err
    (site / "toy.py").write_text((site / "toy.py").read_text() + "\n# a comment\n")
    assert "click" in work("all", PYTHONPROFILEIMPORTTIME="1", **path).err
    assert "click" in work("all", PYTHONPROFILEIMPORTTIME="1", PYTHONPATH=TOY_PATH).err  # another toy plugin


@pytest.mark.parametrize("flag", ["--check", "--remeasure", "--json", "-v", "-n"])
def test_what_is_never_a_no_op(project: Inline, flag: str):
    project("all", flag)
    assert not is_noop(project, "all", flag)


def test_a_failed_build_leaves_no_state(project: Inline):
    project.edit("Compressfile", "toy.copy: {data: d}", "toy.copy: {data: d, fail: raise}")
    project("all", code=1)
    assert not is_noop(project, "all")
    project("a")
    assert is_noop(project, "a")
    assert not is_noop(project, "all")


def test_nothing_is_skipped_unsaid(project: Inline):
    """Targets that cannot be built here are named again."""
    project.write("f.onnx", "any bytes")
    project.write("Compressfile", """
version: 1
models: {f: {file: f.onnx}}
platforms: {p: {backend: tensorrt}}
targets: {t: {from: f}, s: {from: f, platform: p}}
""")  # fmt: skip
    project("all")
    again = project("all")
    assert "skipped s: needs" in again.out
    assert is_noop(project, "all")


def test_what_a_skipped_target_needs_is_watched(project: Inline, tmp_path_factory, monkeypatch):
    """A driver or compiler that is installed later ends the no-op."""
    programs = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    project.environ = os.environ
    project.write("f.onnx", "any bytes")
    project.write("Compressfile", """
version: 1
models: {f: {file: f.onnx}}
platforms: {p: {backend: tensorrt}}
targets: {t: {from: f}, s: {from: f, platform: p}}
""")  # fmt: skip
    project("all")
    assert is_noop(project, "all")
    (programs / "nvidia-smi").write_text("#!/bin/sh\n")
    assert not is_noop(project, "all")


def test_a_file_of_the_future_is_not_waited_for(project: Inline):
    tomorrow = time.time_ns() + 24 * 3600 * 10**9
    os.utime(project.root / "f.txt", ns=(tomorrow, tomorrow))
    began = time.monotonic()
    project("all")
    assert time.monotonic() - began < 30
    assert not is_noop(project, "all"), "a later write in the same way could bear the same time"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        *(noop.sealed(marshal.dumps(each)) for each in (None, (1, 2), {}, (1,) * 6)),
        marshal.dumps(None),
    ],
)
def test_a_damaged_state_is_no_state(project: Inline, data: bytes):
    for path in (project.root / ".cbuild/noop").iterdir():
        path.write_bytes(data)
    assert not is_noop(project, "all")
    assert "nothing to do" in project("all").out
    assert is_noop(project, "all")


def test_state_of_another_interpreter(project: Inline):
    for path in (project.root / ".cbuild/noop").iterdir():
        made_by, *rest = marshal.loads(path.read_bytes()[8:])
        path.write_bytes(noop.sealed(marshal.dumps(((*made_by[:1], "3.99", *made_by[2:]), *rest))))
    assert not is_noop(project, "all")


def test_moved_project(project: Inline, tmp_path: Path):
    project.root.rename(tmp_path / "moved")
    moved = Inline(tmp_path / "moved", toy=True)
    assert moved("all").out.endswith("(nothing to do, 5 nodes cached)\n")


def test_another_file_from_another_directory(project: Inline, tmp_path: Path):
    file = str(project.root / "Compressfile")
    elsewhere = Inline(tmp_path / "elsewhere", toy=True)
    elsewhere("all", "-f", file)
    assert is_noop(elsewhere, "all", "-f", file)
    project.write("f.txt", "changed")
    assert not is_noop(elsewhere, "all", "-f", file)


@pytest.mark.parametrize(
    ("argv", "root"),
    [
        (["all"], ""),
        (["all", "-f", "x/Compressfile"], "x/"),
        (["all", "-fx/y/C"], "x/y/"),
        (["--file=/a/C", "all"], "/a/"),
        (["--file", "C"], ""),
        (["-f"], ""),
    ],
)
def test_locate(argv: list[str], root: str):
    found, state, _ = noop.locate(argv)
    assert found == root
    assert state.startswith(f"{root}.cbuild/noop/")
    assert noop.locate([*argv, "more"])[1] != state


@pytest.mark.parametrize("changed", [None, 0, 2499, 2500, 5000, 9998, 9999])
def test_many_files_are_shared_among_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: int | None):
    monkeypatch.setattr(noop, "_SHARE", 100)
    paths = [str(tmp_path / f"f{number}") for number in range(10_000)]
    for path in paths[:-1]:  # the last one is not there, and must not be
        Path(path).touch()
    expected = array("Q", [number for path in paths for number in noop.signature(path)])
    if changed is not None:
        Path(paths[changed]).write_text("x")
    assert noop._all_same("", paths, memoryview(expected)) == (changed is None)
    assert noop._all_same(f"{tmp_path}/", [os.path.basename(p) for p in paths], memoryview(expected)) == (
        changed is None
    )


def test_imports_only_what_an_interpreter_has():
    """Beside those, the no-op imports :mod:`place`, where there is no Compressfile here; that imports no more."""
    for module, others in ((noop, {".place"}), (place, set())):
        tree = list(ast.walk(ast.parse(Path(module.__file__).read_text())))
        typed = [node for node in tree if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
        tree = [node for node in tree if not any(node in ast.walk(block) for block in typed)]
        imports = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
        assert imports <= {"sys", "marshal", "posix", "gc", "_imp", "itertools", "_operator"}
        assert imports <= set(sys.builtin_module_names), "none is a file"
        assert {"." * n.level + (n.module or "") for n in tree if isinstance(n, ast.ImportFrom)} <= others
