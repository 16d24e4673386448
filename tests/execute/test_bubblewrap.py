"""What a step in bubblewrap cannot do: read homes, use the network, change the project, leave anything behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from execute_bench import HERE, Bench

from compressbuild.api import WorkInput, WorkSight
from compressbuild.execute import bubblewrap, landlock, sandbox
from compressbuild.execute.executor import Finished
from compressbuild.execute.local import LocalExecutor
from compressbuild.execute.protocol import Sandbox

pytestmark = pytest.mark.skipif(bubblewrap.lack() is not None, reason=str(bubblewrap.lack()))

ENGINE = Path(landlock.__file__).parents[2]
NODES = str(HERE / "nodes_that_escape.py")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalExecutor]:
    """It sees what a build's would: the projects, and of the cache the place for outputs."""
    base = str(tmp_path_factory.getbasetemp().resolve())
    readable = (*sys.path, sys.base_prefix, str(ENGINE))
    boxed = Sandbox("bubblewrap", readable=readable, writable=(base,), places=(base,))
    with LocalExecutor(sandbox=boxed, variables={"PYTHONPATH": str(HERE)}) as executor:
        yield executor


@pytest.fixture(params=[(), ("without_landlock",)], ids=["with Landlock", "without"])
def bench(tmp_path: Path, executor: LocalExecutor, request: pytest.FixtureRequest) -> Bench:
    (tmp_path / "project").mkdir()
    return Bench(tmp_path, executor, preload=request.param)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that holds a secret, outside of all that the sandbox was given."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        key = Path(place, ".ssh", "id_ed25519")
        key.parent.mkdir()
        key.write_text("canary")
        yield Path(place)


def attempt(bench: Bench, way: str, what: object, **inputs: WorkInput) -> Finished:
    sight = WorkSight(files=(NODES,))
    params = {"way": way, "what": str(what)}
    return bench.run("nodes_that_escape:run", params, sight=sight, code_files=(NODES,), inputs=inputs)


def test_a_home_is_not_there(bench: Bench, home: Path) -> None:
    key = home / ".ssh" / "id_ed25519"
    assert key.read_text() == "canary"
    for way, nothing in (("read", ""), ("names", []), ("existence_by_c", False), ("existence_by_a_program", False)):
        assert attempt(bench, way, key if way != "names" else home).result.facts == {"seen": nothing}, way


def test_its_own_home_is_empty(bench: Bench) -> None:
    (bench.project / "mine.py").write_text(
        "import os\n\n\ndef run(ctx, params):\n    return {'names': os.listdir(os.path.expanduser('~'))}\n"
    )
    sight = WorkSight(files=(str(bench.project / "mine.py"),))
    assert bench.run("mine:run", {}, sight=sight, code_files=("mine.py",)).result.facts == {"names": []}


def test_a_server_is_not_reached(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.2)
        assert attempt(bench, "connect", port).result.facts == {"seen": False}
        named = attempt(bench, "connect_by_python", port).result
        with pytest.raises(TimeoutError):
            server.accept()
    assert "the sandbox has no network, for no action key covers it" in str(named.error)
    assert "before the build" in str(named.hint)


def test_what_is_elsewhere_is_named(bench: Bench, home: Path) -> None:
    (bench.project / "mine.py").write_text("def run(ctx, params):\n    return {'text': open(params['path']).read()}\n")
    sight = WorkSight(files=(str(bench.project / "mine.py"),))
    path = home / ".ssh" / "id_ed25519"
    end = bench.run("mine:run", {"path": str(path)}, sight=sight, code_files=("mine.py",))
    assert f"'{path}': if it is there, the sandbox hides it" in str(end.result.error)
    assert f"`outside: [{path.parent}]`" in str(end.result.hint)


def test_a_module_that_the_key_does_not_cover_is_named(bench: Bench) -> None:
    (bench.project / "helper.py").write_text("WORD = 1\n")
    (bench.project / "mine.py").write_text(
        "def run(ctx, params):\n    import helper\n    return {'word': helper.WORD}\n"
    )
    sight = WorkSight(files=(str(bench.project / "mine.py"),))
    end = bench.run("mine:run", {}, sight=sight, code_files=("mine.py",))
    assert end.result.error == "helper.py was imported, but the action key does not cover it"


def test_the_project_and_inputs_are_read_only(bench: Bench) -> None:
    inside = bench.tmp / "input"
    inside.mkdir()
    (inside / "weights").write_text("as they are")
    for path in (inside / "weights", Path(NODES), bench.project / "made", bench.tmp / "made", inside / "made"):
        before = path.read_text() if path.exists() else None
        end = attempt(bench, "write", path, other=WorkInput(path=str(inside), kind="any"))
        assert end.result.facts == {"seen": False}, end.result
        assert (path.read_text() if path.exists() else None) == before


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm", "/", "/dev"])
def test_nothing_is_left_for_the_next(bench: Bench, place: str) -> None:
    path = os.path.join(place, f"left-by-{os.getpid()}-{bench.tmp.name}")
    ends = [attempt(bench, "leave", path) for _ in range(2)]
    assert not os.path.exists(path)
    if place != "/dev":  # a file system of the warm parent's
        assert [end.result.facts for end in ends] == [{"seen": False}] * 2


@pytest.mark.parametrize("way", ["existence_by_c", "existence_by_a_program"])
def test_whether_an_undeclared_file_is_there_is_hidden_below_python(bench: Bench, way: str) -> None:
    path = bench.project / "data.txt"
    absent = attempt(bench, way, path)
    path.write_text("x")
    there = attempt(bench, way, path)
    if way == "existence_by_c":
        assert absent.result.facts == there.result.facts == {"seen": False}
    else:  # its arguments name it
        assert absent.result.ok
        assert "data.txt was read, but the action key does not cover it" in str(there.result.error)


def test_no_other_process_is_seen(bench: Bench) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            assert attempt(bench, "kill", other.pid).result.facts == {"seen": False}
            assert other.poll() is None
        finally:
            other.kill()


def test_what_hides_cannot_be_undone(bench: Bench) -> None:
    assert attempt(bench, "unveil", bench.project).result.facts == {"seen": False}


def test_the_user_is_the_same_and_the_machine_has_no_name(bench: Bench) -> None:
    assert attempt(bench, "ids", "").result.facts == {"seen": [os.getuid(), os.getgid(), "cbuild"]}


def test_links_and_folders_are_as_they_are(bench: Bench) -> None:
    """A listed file that is a link is one; a listed folder has all below, and nothing beside it."""
    data = bench.project / "data"
    (data / "deep").mkdir(parents=True)
    (data / "deep" / "a.txt").write_text("a")
    (bench.project / "secret.txt").write_text("secret")
    (bench.project / "real.txt").write_text("real")
    (bench.project / "link.txt").symlink_to("real.txt")
    (bench.project / "mine.py").write_text(
        "import os\n\n\ndef run(ctx, params):\n    os.chdir(params['root'])\n"
        "    return {'link': os.readlink('link.txt'), 'text': open('link.txt').read(),\n"
        "            'deep': open('data/deep/a.txt').read()}\n"
    )
    listed = [str(bench.project / name) for name in ("mine.py", "link.txt", "real.txt")]
    sight = WorkSight(files=tuple(listed), trees=(str(data),))
    params = {"root": str(bench.project)}
    end = bench.run("mine:run", params, sight=sight, code_files=("mine.py",), read_files=("link.txt", "real.txt"))
    assert end.result.facts == {"link": "real.txt", "text": "real", "deep": "a"}, end.result


def test_a_killed_warm_parent_is_told_as_such(bench: Bench) -> None:
    """Its pid is one of its own namespace, so no group outside may be signalled by it."""
    (bench.project / "mine.py").write_text(
        "import os, signal\n\n\ndef run(ctx, params):\n    os.kill(1, signal.SIGKILL)\n    os.kill(os.getppid(), 9)\n"
    )
    end = bench.run("mine:run", {}, code_files=("mine.py",))
    assert end.cause == "crashed"
    assert "killed by signal 9 (SIGKILL)" in end.detail


def test_python_is_found_through_links(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a virtual environment of a tool that keeps interpreters in a home."""
    (home / "hop").symlink_to(sys.executable)
    (tmp_path / "python").symlink_to(home / "hop")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "project").mkdir()
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    boxed = sandbox._bubblewrap(readable=[str(tmp_path)], writable=[str(tmp_path)], places=[str(tmp_path)])
    with LocalExecutor({"PYTHONPATH": path}, sandbox=boxed) as executor:
        end = attempt(Bench(tmp_path, executor), "names", home)
    assert end.cause == "ok", end
    assert "bubblewrap" in end.result.sandbox


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    boxed = Sandbox("bubblewrap", readable=(), writable=(str(tmp_path),))  # no interpreter in it
    with LocalExecutor(sandbox=boxed) as executor:
        end = attempt(Bench(tmp_path, executor), "names", tmp_path)
    assert end.cause == "unavailable"
    assert "the workers' parent process did not start: exited with status 1 (bwrap: " in end.detail
