"""Whatever a node learns of a file that its key does not cover, it fails, or it learns the same whatever is there."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from execute_bench import HERE, Bench

from compressbuild.api import WorkSight
from compressbuild.execute import bubblewrap, landlock, sight
from compressbuild.execute.executor import Finished
from compressbuild.execute.local import LocalExecutor
from compressbuild.execute.protocol import Sandbox

ENGINE = Path(landlock.__file__).parents[2]
NODES = str(HERE / "nodes_that_read.py")
READS = [
    *("python", "relative_to_a_descriptor", "c_library", "mapped_by_rust", "database", "program"),
    *("program_that_fails_quietly", "shell", "program_in_the_directory", "program_that_finds_it", "forked_child"),
    *("swallowing", "forked_by_os", "spawned_child", "child_of_a_forkserver", "grandchild"),
]
LISTS = ["listing", "walking", "globbing", "listing_by_a_program", "listing_by_a_fork", "listing_by_a_spawned_child"]
LOOKS = [
    *("existence", "existence_by_pathlib", "size", "access", "existence_by_a_fork", "existence_by_a_spawned_child"),
    "existence_by_a_child_of_a_forkserver",
]
BELOW_PYTHON = {
    "relative_to_a_descriptor",
    "c_library",
    "program_that_finds_it",
    "listing_by_a_program",
}
QUIET = {"c_library", "program_that_finds_it", "listing_by_a_program"}  # they make nothing of a refusal


# What a worker is confined by → the modules of its warm parent.
CONFINED = {"landlock": (), "bubblewrap, landlock": (), "bubblewrap": ("without_landlock",), "none": ()}


@pytest.fixture(scope="module")
def executors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalExecutor]]:
    """One warm parent of each kind serves all."""
    base = (str(tmp_path_factory.getbasetemp().resolve()),)
    boxed = Sandbox("bubblewrap", readable=(*sys.path, sys.base_prefix, str(ENGINE)), writable=base, places=base)
    with (
        LocalExecutor() as plain,
        LocalExecutor(sandbox=boxed, variables={"PYTHONPATH": str(HERE)}) as wrapped,
        LocalExecutor(sandbox=Sandbox("none")) as loose,
    ):
        yield {"landlock": plain, "bubblewrap, landlock": wrapped, "bubblewrap": wrapped, "none": loose}


@pytest.fixture
def confined(request: pytest.FixtureRequest) -> str:
    name = getattr(request, "param", "landlock")
    if "landlock" in name and landlock.version() == 0:
        pytest.skip("this kernel has no Landlock")
    if "bubblewrap" in name and (why := bubblewrap.lack()):
        pytest.skip(why)
    return name


@pytest.fixture
def bench(tmp_path: Path, executors: dict[str, LocalExecutor], confined: str) -> Bench:
    (tmp_path / "project").mkdir()
    return Bench(tmp_path, executors[confined], preload=CONFINED[confined])


everywhere = pytest.mark.parametrize("confined", ["landlock", "bubblewrap, landlock", "bubblewrap"], indirect=True)
in_bubblewrap = pytest.mark.parametrize("confined", ["bubblewrap, landlock", "bubblewrap"], indirect=True)
unconfined = pytest.mark.parametrize("confined", ["none"], indirect=True)
needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")


def write(path: Path, way: str, word: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if way == "database":
        with sqlite3.connect(path) as database:
            database.execute("create table words (word text)")
            database.execute("insert into words values (?)", (word,))
        database.close()
    elif way == "mapped_by_rust":
        header = json.dumps({"__metadata__": {"word": word}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
    else:
        path.write_text(word)


def look(bench: Bench, way: str, path: Path, sight: WorkSight | None) -> Finished:
    params = {"way": way, "path": str(path)}
    return bench.run("nodes_that_read:run", params, sight=sight, code_files=(NODES,))


def nothing_but_code(**more: tuple[str, ...]) -> WorkSight:
    return WorkSight(files=(NODES, *more.pop("files", ())), **more)


@everywhere
@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("place", ["project", "elsewhere"])
def test_undeclared_content_decides_nothing(bench: Bench, way: str, place: str) -> None:
    path = bench.tmp / place / "data" / "secret.txt"
    path.parent.mkdir(parents=True)
    ends = []
    for word in ("first", "other"):
        write(path, way, word)
        ends.append(look(bench, way, path, nothing_but_code()))
    assert all(end.cause == "raised" for end in ends) or ends[0].result.facts == ends[1].result.facts, ends
    assert "first" not in str(ends[0].result.facts)
    silent = {"shell", "swallowing", "program_that_fails_quietly", "forked_by_os", "grandchild"}
    outside = silent if place == "elsewhere" else set()
    if way not in QUIET | outside:
        assert ends[0].cause == "raised"
        assert "secret.txt was read, but the action key does not cover it" in str(ends[0].result.error)
        assert "data/secret.txt]`" in str(ends[0].result.hint), "the line to write"


@everywhere
@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("cover", ["the file", "its directory"])
def test_what_the_key_covers_is_read_in_every_way(bench: Bench, way: str, cover: str) -> None:
    path = bench.project / "data" / "open.txt"
    write(path, way, "word")
    files, trees = ((str(path),), ()) if cover == "the file" else ((), (str(path.parent),))
    end = look(bench, way, path, nothing_but_code(files=files, trees=trees))
    assert "word" in str(end.result.facts), end.result.error


@everywhere
@pytest.mark.parametrize("way", [*LISTS, "listing_by_c"])
def test_undeclared_names_decide_nothing(bench: Bench, way: str) -> None:
    path = bench.project / "data" / "a.txt"
    ends = []
    for more in ("a.txt", "b.txt"):
        write(path.with_name(more), way, "x")
        ends.append(look(bench, way, path, nothing_but_code(files=(str(path),))))
    if way in (*QUIET, "listing_by_c"):
        assert ends[0].result.facts == ends[1].result.facts
    else:
        assert ends[0].result.error == "data was listed, but the action key does not cover it"
    covered = look(bench, way, path, nothing_but_code(folders=(str(path.parent),)))
    assert covered.result.facts.get("seen"), "a glob looks through it"


@pytest.mark.parametrize("way", LOOKS)
@pytest.mark.parametrize("sight", [nothing_but_code(), None], ids=["with Landlock", "without"])
def test_whether_an_undeclared_file_is_there_decides_nothing(bench: Bench, way: str, sight: WorkSight | None) -> None:
    path = bench.project / "data" / "a.txt"
    absent = look(bench, way, path, sight)
    assert absent.cause == "raised"
    if way != "size":
        assert "data/a.txt was looked for, and is not there" in str(absent.result.error)
    write(path, way, "x")
    there = look(bench, way, path, sight)
    assert there.result.error == "data/a.txt was looked for, but the action key does not cover it"
    assert look(bench, way, path, WorkSight(files=(NODES, str(path)))).cause == "ok"


@pytest.mark.parametrize("way", [each for each in (*READS, *LISTS) if each not in BELOW_PYTHON])
def test_without_landlock_what_passes_through_python_is_seen(bench: Bench, way: str) -> None:
    path = bench.project / "data" / "secret.txt"
    write(path, way, "word")
    end = look(bench, way, path, None)
    if way == "mapped_by_rust":  # opened and gone before anybody looks: arguments that are paths are refused earlier
        return
    assert end.cause == "raised", end
    assert "the action key does not cover it" in str(end.result.error)


@everywhere
def test_nothing_is_written_beside_the_output(bench: Bench) -> None:
    (bench.project / "mine.py").write_text(
        "import os, subprocess\n\n\ndef run(ctx, params):\n"
        "    done = [subprocess.run(['touch', f'{d}/made']).returncode for d in params['places']]\n"
        "    return {'refused': [bool(each) for each in done]}\n"
    )
    inside = bench.tmp / "inputs"
    inside.mkdir()
    places = [str(bench.project), str(bench.tmp), str(inside), "/tmp"]
    sight = WorkSight(files=(str(bench.project / "mine.py"),))
    end = bench.run("mine:run", {"places": places}, sight=sight, code_files=("mine.py",))
    private = "bubblewrap" in end.result.sandbox  # its own /tmp
    assert end.result.facts == {"refused": [True, True, True, not private]}, end.result
    assert not any(Path(place, "made").exists() for place in places)


@needs_landlock
@pytest.mark.parametrize("path", ["my_plugin.py", "my_plugin/__init__.py"])
def test_an_installed_plugin_is_found_and_only_its_code_is_read(tmp_path: Path, path: str) -> None:
    """Its package lies among libraries, but counts by its source: what else is in it is in no key."""
    site = tmp_path / "site-packages"
    module = site / path
    module.parent.mkdir(parents=True)
    (tmp_path / "project").mkdir()
    module.write_text(
        "import ctypes, library, os\n\n\ndef run(ctx, params):\n"
        "    fd = ctypes.CDLL(None).open(params['path'].encode(), os.O_RDONLY)\n"
        "    return {'library': library.WORD, 'opened': fd >= 0}\n\n\n"
        "def table(ctx, params):\n    return {'table': open(params['path']).read()}\n"
    )
    (site / "library.py").write_text("WORD = 'word'\n")
    (site / "my_plugin").mkdir(exist_ok=True)
    data = site / "my_plugin" / "table.json"
    data.write_text("{}")
    with LocalExecutor(packages=("my_plugin",)) as executor:
        executor._environment["PYTHONPATH"] = str(site)
        bench = Bench(tmp_path, executor)
        sight = WorkSight(files=(str(module),))
        end = bench.run("my_plugin:run", {"path": str(data)}, sight=sight)
        assert end.result.facts == {"library": "word", "opened": path == "my_plugin.py"}, end.result
        if path != "my_plugin.py":
            end = bench.run("my_plugin:table", {"path": str(data)}, sight=sight)
            assert "covers only what a plugin's code names" in end.result.error
            assert "name it by a literal in the module beside it" in end.result.hint


def test_in_a_virtual_environment_a_plugin_hides_itself_alone(monkeypatch):
    """One place of the standard library holds the directory of packages there."""
    inner = "/venv/lib/python3.12/site-packages/"
    monkeypatch.setattr(sight, "libraries", lambda: ("/venv/lib/python3.12/", inner))
    assert list(sight._plugin_packages([f"{inner}plugin/part.py"])) == [f"{inner}plugin"]
