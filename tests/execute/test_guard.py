"""What the action key does not cover, a node may not use; and what is none of the key's business, it may."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from execute_bench import HERE, Bench

from compressbuild.api import WorkDataset, WorkInput

NODES = str(HERE / "nodes_for_tests.py")


@pytest.fixture(autouse=True)
def project(bench: Bench) -> Path:
    root = bench.project
    (root / "data").mkdir()
    for name in ("a", "b", "c", "d", "e"):
        (root / "data" / f"{name}.txt").write_text(name)
    (root / "extra.py").write_text("VALUE = 1\n")
    (root / "indirect.py").write_text("from extra import VALUE\n")
    (root / "package").mkdir()
    (root / "package" / "__init__.py").write_text("")
    (root / "package" / "inner.py").write_text("VALUE = 2\n")
    return root


def test_an_undeclared_import_fails_the_node(bench: Bench) -> None:
    finished = bench.run("use_module", {"module": "extra"})
    assert finished.cause == "raised"
    assert finished.result.error == "extra.py was imported, but the action key does not cover it"
    assert "`files:`" in (finished.result.hint or "")
    assert finished.result.trace is None


def test_it_is_found_when_compiled_already(bench: Bench, project: Path) -> None:
    import py_compile

    py_compile.compile(str(project / "extra.py"))
    assert (project / "__pycache__").is_dir()
    finished = bench.run("use_module", {"module": "extra"})
    assert finished.result.error == "extra.py was imported, but the action key does not cover it"


def test_indirect_imports_count_and_declared_ones_pass(bench: Bench) -> None:
    covered = (NODES, "indirect.py")
    assert bench.run("use_module", {"module": "indirect"}, code_files=covered).result.error == (
        "extra.py was imported, but the action key does not cover it"
    )
    finished = bench.run("use_module", {"module": "indirect"}, code_files=(*covered, "extra.py"))
    assert finished.result.facts == {"value": 1}


def test_a_package_is_named_with_its_directory(bench: Bench) -> None:
    finished = bench.run("use_module", {"module": "package.inner"}, code_files=(NODES, "package/__init__.py"))
    # __import__ returns the package, which has no VALUE: the exception is what is reported
    assert finished.result.error == "AttributeError: module 'package' has no attribute 'VALUE'"
    (bench.project / "package" / "__init__.py").write_text("from .inner import VALUE\n")
    finished = bench.run("use_module", {"module": "package"}, code_files=(NODES, "package/__init__.py"))
    assert finished.result.error == "package/inner.py was imported, but the action key does not cover it"


@pytest.mark.parametrize("function", ["read_file", "relative_read"])
def test_an_undeclared_read_fails_the_node(bench: Bench, function: str) -> None:
    params = {"paths": ["data/a.txt"], "path": "data/a.txt"}
    finished = bench.run(function, params)
    assert finished.result.error == "data/a.txt was read, but the action key does not cover it"
    assert "list it under `files:`" in (finished.result.hint or "")
    assert bench.run(function, params, read_files=("data/a.txt",)).cause == "ok"
    assert bench.run(function, params, read_files=("data",)).cause == "ok", "a directory covers what is in it"
    dataset = {"train": WorkDataset(loader="m:f", files=("data/a.txt",))}
    assert bench.run(function, params, datasets=dataset).cause == "ok"


def test_many_files_are_counted_not_listed(bench: Bench) -> None:
    paths = [f"data/{name}.txt" for name in "edcba"]
    finished = bench.run("read_file", {"paths": [*paths, "data/../data/a.txt"]})
    assert finished.result.error == (
        "data/a.txt, data/b.txt, data/c.txt and 2 more were read, but the action key does not cover it"
    )


def test_a_project_reached_through_a_link_is_the_same_project(bench: Bench) -> None:
    link = bench.tmp / "link"
    link.symlink_to(bench.project)
    for root, path in ((link, bench.project), (bench.project, bench.project), (bench.project, link)):
        finished = bench.run("read_file", {"paths": [str(path / "data/a.txt")]}, root=str(root))
        if path == link:  # a link from outside is seen as the file outside that it is written as
            assert finished.cause == "ok"
        else:
            assert finished.result.error == "data/a.txt was read, but the action key does not cover it"


def test_looking_counts_too(bench: Bench) -> None:
    """What is there, and how large it is, decides as well as what is in it."""
    finished = bench.run("probe_file", {"path": "data/a.txt"})
    assert finished.result.error == (
        "the project's directory was listed, but the action key does not cover all that is in it"
    )
    assert "outside" not in finished.result.hint
    finished = bench.run("probe_file", {"path": "data/a.txt"}, read_files=(".",))
    assert finished.result.facts == {"names": ["data", "extra.py", "indirect.py", "package"], "size": 1}


def test_ignored_directories_and_metadata_are_free(bench: Bench, project: Path) -> None:
    (project / "cache").mkdir()
    (project / "cache" / "x").write_text("x")
    (project / "thing.egg-info").mkdir()
    (project / "thing.egg-info" / "PKG-INFO").write_text("x")
    paths = {"paths": ["cache/x", "thing.egg-info/PKG-INFO"]}
    assert bench.run("read_file", paths, ignore_dirs=("cache",)).cause == "ok"
    assert bench.run("read_file", paths).result.error == ("cache/x was read, but the action key does not cover it")


def test_libraries_installed_below_the_project_are_free(bench: Bench) -> None:
    """An environment inside the project, as ``.venv`` often is."""
    environment = Path(sys.prefix)
    fields = {"root": str(environment.parent), "code_roots": (str(HERE),)}
    assert bench.run("only_import", {"module": "yaml"}, **fields).cause == "ok"
    metadata = next(Path(yaml.__file__).parents[1].glob("*/METADATA"))
    assert bench.run("read_file", {"paths": [str(metadata)]}, **fields).cause == "ok"


def test_plugins_found_by_path_below_the_project_are_free(bench: Bench) -> None:
    """An editable installation: its directory is on sys.path before the node's code roots are."""
    plugins = bench.project / "plugins"
    (plugins / "my_plugin").mkdir(parents=True)
    (plugins / "my_plugin" / "__init__.py").write_text("")
    (plugins / "my_plugin" / "work.py").write_text("from .more import f\n\n\ndef run(ctx, params):\n    f()\n")
    (plugins / "my_plugin" / "more.py").write_text("def f():\n    import extra\n")
    bench.executor._environment["PYTHONPATH"] = str(plugins)
    finished = bench.run("my_plugin.work:run")
    assert finished.result.error == "extra.py was imported, but the action key does not cover it"
    assert bench.run("my_plugin.work:run", code_files=("extra.py",)).cause == "ok"


@pytest.mark.parametrize("function", ["write_file", "replace_file"])
def test_a_node_may_not_write_into_the_project(bench: Bench, function: str) -> None:
    finished = bench.run(function, {"path": "data/a.txt"}, read_files=("data/a.txt",))
    assert finished.result.error == "data/a.txt was written, but a node may not change the project"
    assert "ctx.out" in (finished.result.hint or "")
    assert bench.run(function, {"path": "new.txt"}).result.error == (
        "new.txt was written, but a node may not change the project"
    )


def test_a_node_may_not_remove_files_of_the_project(bench: Bench) -> None:
    finished = bench.run("remove_file", {"path": "data/a.txt"}, read_files=("data/a.txt",))
    assert finished.result.error == "data/a.txt was removed, but a node may not change the project"


def test_a_lock_file_that_comes_and_goes_is_no_change(bench: Bench) -> None:
    assert bench.run("temporary_file").cause == "ok"


def test_a_node_may_not_write_into_its_inputs(bench: Bench) -> None:
    subject = bench.project / "cache" / "input"
    subject.mkdir(parents=True)
    inputs = {"subject": WorkInput(path=str(subject), kind="onnx")}
    finished = bench.run("write_input", inputs=inputs, ignore_dirs=("cache",))
    assert finished.result.error == "cache/input/new.bin was changed, but belongs to an input of this node"


def test_output_and_scratch_below_the_project_are_the_nodes_own(bench: Bench) -> None:
    base = bench.project / "work"
    finished = bench.run("facts", out=str(base / "out"), scratch=str(base / "scratch"), save_json="m.json")
    assert finished.cause == "ok"
    assert (base / "out" / "m.json").exists()


def test_no_compiled_files_appear_in_the_project(bench: Bench) -> None:
    bench.run("use_module", {"module": "extra"}, code_files=(NODES, "extra.py"))
    assert not (bench.project / "__pycache__").exists()
