"""The code that runs is the code that the key names, whatever compiled files lie there."""

from __future__ import annotations

import os
import py_compile
import shutil
from pathlib import Path

import pytest
from execute_bench import Bench

OLD = "def run(ctx, params):\n    return {'value': 'old'}\n"
NEW = OLD.replace("old", "new")


def compile_stale(source: Path, mode: py_compile.PycInvalidationMode) -> None:
    """What Python would believe: new source of the size and mtime of the old, beside the bytecode of the old."""
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(OLD)
    py_compile.compile(str(source), invalidation_mode=mode)
    before = source.stat()
    source.write_text(NEW)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(params=["TIMESTAMP", "UNCHECKED_HASH"])
def mode(request: pytest.FixtureRequest) -> py_compile.PycInvalidationMode:
    return py_compile.PycInvalidationMode[request.param]


PLACES = {
    "the project": ("project", "mine.py", "mine:run"),
    "a package of the project": ("project", "deep/inner/mine.py", "deep.inner.mine:run"),
    "a package's init": ("project", "deep/__init__.py", "deep:run"),
    "a plugin in a source tree": ("tree", "my_plugin/work.py", "my_plugin.work:run"),
    "a module of a source tree": ("tree", "my_plugin.py", "my_plugin:run"),
    "an installed plugin": ("site-packages", "my_plugin/work.py", "my_plugin.work:run"),
    "an installed module": ("site-packages", "my_plugin.py", "my_plugin:run"),
}


@pytest.mark.parametrize("place", PLACES)
def test_bytecode_of_older_source_is_not_believed(bench: Bench, place: str, mode) -> None:
    base, path, reference = PLACES[place]
    compile_stale(bench.tmp / base / path, mode)
    bench.executor._packages = ("my_plugin",)
    bench.executor._environment["PYTHONPATH"] = os.pathsep.join(str(bench.tmp / each) for each in ("tree", base))
    assert bench.run(reference, code_files=(path,)).result.facts == {"value": "new"}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_of_multiprocessing_believes_it_no_more(bench: Bench, method: str, mode) -> None:
    """It is a Python of its own, which would find both by the search path."""
    compile_stale(bench.project / "helper.py", mode)
    (bench.project / "mine.py").write_text(
        "import multiprocessing\n\n\ndef value(_):\n    import helper\n    return helper.run(None, None)['value']\n\n\n"
        "def run(ctx, params):\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        return {'value': pool.map(value, [0])[0]}\n"
    )
    end = bench.run("mine:run", code_files=("mine.py", "helper.py"), timeout=60)
    assert end.result.facts == {"value": "new"}, end


def test_libraries_count_by_version_and_load_as_ever(bench: Bench, mode) -> None:
    """Compiling all of a large library for each node would cost its time for nothing."""
    compile_stale(bench.tmp / "site-packages" / "library.py", mode)
    bench.executor._environment["PYTHONPATH"] = str(bench.tmp / "site-packages")
    assert bench.run("library:run").result.facts == {"value": "old"}


def test_two_edits_within_a_second(bench: Bench) -> None:
    source = bench.project / "mine.py"
    for number in range(5):
        source.write_text(OLD.replace("old", f"{number:03}"))
        py_compile.compile(str(source))
        assert bench.run("mine:run", code_files=("mine.py",)).result.facts == {"value": f"{number:03}"}


def test_code_that_the_warm_parent_holds_is_read_again_after_an_edit(bench: Bench) -> None:
    library = bench.tmp / "tree" / "helper.py"
    library.parent.mkdir()
    library.write_text("WORD = 'old'\n")
    (bench.project / "mine.py").write_text("import helper\ndef run(ctx, params):\n    return {'value': helper.WORD}\n")
    bench.executor._environment["PYTHONPATH"] = str(library.parent)

    def run() -> object:
        return bench.run("mine:run", code_files=("mine.py",), preload=("helper",)).result.facts

    assert run() == {"value": "old"}
    copy = bench.tmp / "copy.py"
    copy.write_text("WORD = 'new'\n")
    shutil.copystat(library, copy)
    shutil.copy2(copy, library)  # cp -p
    assert run() == {"value": "new"}
    assert len(bench.executor._retired) == 1


def test_what_waits_for_a_warm_parent_gets_the_code_of_now(bench: Bench) -> None:
    """An edit while the libraries load: the node was queued with a key of the new code."""
    library = bench.tmp / "tree" / "helper.py"
    library.parent.mkdir()
    signal = bench.tmp / "read"
    library.write_text(f"import time\nopen({str(signal)!r}, 'w').close()\ntime.sleep(0.5)\nWORD = 'old'\n")
    (bench.project / "mine.py").write_text("import helper\ndef run(ctx, params):\n    return {'value': helper.WORD}\n")
    bench.executor._environment["PYTHONPATH"] = str(library.parent)
    bench.executor.prepare(("helper",))
    while not signal.exists():
        bench.executor.wait(0.01)
    library.write_text("WORD = 'new'\n")
    finished = bench.run("mine:run", code_files=("mine.py",), preload=("helper",))
    assert finished.result.facts == {"value": "new"}
