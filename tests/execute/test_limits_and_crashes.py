"""However a node ends, the engine lives, knows the cause, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from execute_bench import HERE, Bench, alive, eventually

from compressbuild.api import WorkSight
from compressbuild.execute import landlock
from compressbuild.execute.executor import Finished, Progress


def _pids(file: Path) -> list[int]:
    assert eventually(file.exists)
    return [int(each) for each in file.read_text().split()]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        ("segfault", "crashed: segmentation fault (SIGSEGV)"),
        ("abort", "crashed: aborted (SIGABRT)"),
        (
            "killed",
            "crashed: killed by signal 9 (SIGKILL); the kernel does this when memory runs out",
        ),
    ],
)
def test_a_signal_is_a_failed_node(bench: Bench, function: str, detail: str) -> None:
    finished = bench.run(function)
    assert (finished.cause, finished.detail, finished.result.error) == ("crashed", detail, detail)
    assert not finished.result.ok
    assert bench.run("nothing").cause == "ok", "the next node is not concerned"


def test_a_crash_leaves_the_python_stack_in_the_log(bench: Bench) -> None:
    finished = bench.run("segfault")
    log = bench.log(1).read_text()
    assert "about to crash" in log
    assert "Fatal Python error: Segmentation fault" in log
    assert "nodes_for_tests.py" in log
    assert finished.result.hint == "the log shows where Python was"


@pytest.mark.parametrize("status", [0, 7])
def test_an_exit_without_a_result_is_a_crash(bench: Bench, status: int) -> None:
    finished = bench.run("hard_exit", {"status": status})
    assert finished.cause == "crashed"
    assert finished.detail == f"crashed: exited with status {status} without a result"


@pytest.mark.parametrize("function", ["garbage", "closes_everything"])
def test_a_node_that_breaks_its_result_pipe_fails_alone(bench: Bench, function: str) -> None:
    other = bench.start("progress", {"steps": 5, "pause": 0.02})
    broken = bench.start(function)
    ends = {each.token: each.cause for each in bench.collect(2) if isinstance(each, Finished)}
    assert ends == {other: "ok", broken: "crashed"}


@pytest.mark.parametrize("own_session", [False, True])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_timeout_ends_the_node_and_its_children(bench: Bench, own_session: bool, stubborn: bool) -> None:
    pids = bench.tmp / "pids"
    params = {"pids": str(pids), "own_session": own_session, "stubborn": stubborn}
    for timeout in (0.5, 4.0, 16.0):  # the node has to get as far as its child, on a busy machine too
        finished = bench.run("sleeper", params, timeout=timeout)
        assert (finished.cause, finished.detail) == ("timeout", f"exceeded its timeout of {timeout:g} s")
        assert "timeout:" in (finished.result.hint or "")
        assert finished.result.seconds >= timeout
        if pids.exists():
            break
    assert not any(alive(pid) for pid in _pids(pids))


@pytest.mark.parametrize("own_session", [False, True])
def test_what_a_node_leaves_running_is_ended_with_it(bench: Bench, own_session: bool) -> None:
    pids = bench.tmp / "pids"
    finished = bench.run("sleeper", {"pids": str(pids), "own_session": own_session, "return": True})
    assert finished.cause == "ok"
    assert not any(alive(pid) for pid in _pids(pids))


@pytest.mark.parametrize("fork", [False, True])
def test_the_memory_limit_holds_for_the_whole_tree(bench: Bench, fork: bool) -> None:
    finished = bench.run("hog", {"mib": 2048, "fork": fork}, memory=256 << 20)
    assert finished.cause == "memory"
    assert finished.detail.startswith("used ")
    assert finished.detail.endswith(" MiB, more than its memory limit of 256 MiB")
    assert 256 << 20 < finished.result.peak_rss < 1024 << 20


def test_a_node_within_its_memory_limit_passes(bench: Bench) -> None:
    finished = bench.run("hog", {"mib": 64}, memory=512 << 20)
    assert finished.cause == "ok"
    assert finished.result.peak_rss > 64 << 20


def test_cancel_ends_a_running_node(bench: Bench) -> None:
    pids = bench.tmp / "pids"
    token = bench.start("sleeper", {"pids": str(pids)})
    bench.until_started()
    running = _pids(pids)
    bench.executor.cancel(token)
    (finished,) = [each for each in bench.collect() if isinstance(each, Finished)]
    assert (finished.cause, finished.detail) == ("cancelled", "cancelled")
    assert not any(alive(pid) for pid in running)


def test_cancel_before_the_warm_parent_is_ready(bench: Bench) -> None:
    token = bench.start("sleeper", {"pids": str(bench.tmp / "pids")}, preload=("msgspec", "json"))
    bench.executor.cancel(token)
    (finished,) = bench.collect()
    assert isinstance(finished, Finished)
    assert finished.cause == "cancelled"
    assert not (bench.tmp / "pids").exists()


def test_cancelling_what_has_ended_says_nothing(bench: Bench) -> None:
    bench.run("nothing")
    bench.executor.cancel(1)
    assert bench.executor.wait(0.05) == []


def test_close_leaves_no_process(bench: Bench) -> None:
    files = [bench.tmp / f"pids{n}" for n in range(3)]
    for number, file in enumerate(files):
        bench.start("sleeper", {"pids": str(file), "stubborn": True, "own_session": number == 1})
    bench.until_started(3)
    pids = [pid for file in files for pid in _pids(file)]
    parents = {_parent(_pids(file)[0]) for file in files}
    bench.executor.close()
    assert not [pid for pid in [*pids, *parents] if alive(pid)]


def test_close_before_the_warm_parent_is_ready(bench: Bench) -> None:
    bench.start("sleeper", {"pids": str(bench.tmp / "pids")}, preload=("msgspec", "colorsys"))
    (parent,) = bench.executor._parents.values()
    pid = parent._process.pid
    bench.executor.close()
    assert not alive(pid)


ENGINE = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from execute_bench import Bench
from compressbuild.execute.local import LocalExecutor
tmp = Path({tmp!r})
bench = Bench(tmp, LocalExecutor())
for number in range(3):
    bench.start("sleeper", {{"pids": str(tmp / f"pids{{number}}"), "own_session": number == 1}}, preload=("msgspec",))
try:
    while True:
        bench.executor.wait()
except KeyboardInterrupt:
    bench.executor.close()
    sys.exit(130)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_engine(tmp_path: Path, signum: signal.Signals) -> None:
    (tmp_path / "project").mkdir()
    code = ENGINE.format(here=str(HERE), tmp=str(tmp_path))
    engine = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    pids = [pid for number in range(3) for pid in _pids(tmp_path / f"pids{number}")]
    parents = {_parent(pid) for pid in pids}
    assert all(alive(pid) for pid in pids)
    os.killpg(engine.pid, signum)
    assert engine.wait(30) == (130 if signum == signal.SIGINT else -signum)
    assert eventually(lambda: not any(alive(pid) for pid in [*pids, *parents]))


def test_a_killed_warm_parent_fails_its_nodes_and_is_replaced(bench: Bench) -> None:
    pids = bench.tmp / "pids"
    bench.start("sleeper", {"pids": str(pids)})
    bench.until_started()
    running = _pids(pids)
    os.kill(_parent(running[0]), signal.SIGKILL)
    (finished,) = [each for each in bench.collect() if isinstance(each, Finished)]
    assert finished.cause == "crashed"
    assert finished.detail == "crashed: the workers' parent process ended: killed by signal 9 (SIGKILL)"
    assert eventually(lambda: not any(alive(pid) for pid in running))
    assert bench.run("nothing").cause == "ok"


def test_of_nodes_that_lose_their_parent_together_each_is_to_be_tried_alone(bench: Bench) -> None:
    """One of them may have done it. In a warm parent of its own it harms nobody else."""
    (bench.project / "killer.py").write_text(
        "import os, signal\n\n\ndef run(ctx, params):\n    os.kill(os.getppid(), signal.SIGKILL)\n    signal.pause()\n"
    )
    killer = {"code_files": ("killer.py",)}
    neighbour = bench.start("sleeper", {"pids": str(bench.tmp / "pids")})
    bench.until_started()
    culprit = bench.start("killer:run", {}, **killer)
    ends = {each.token: each for each in bench.collect(2) if isinstance(each, Finished)}
    assert {ends[token].again for token in (neighbour, culprit)} == {True}
    bench.tokens = culprit - 1
    again = bench.run("killer:run", {}, **killer)
    assert (again.cause, again.again) == ("crashed", False)
    bench.tokens = neighbour - 1
    assert bench.run("nothing").cause == "ok"
    assert len({parent.kind[2] for parent in bench.executor._parents.values()} - {None}) == 1


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel's Landlock leaves signals alone")
def test_a_node_cannot_kill_its_parent_under_landlock(bench: Bench) -> None:
    (bench.project / "killer.py").write_text(
        "import os, signal, subprocess\n\n\ndef run(ctx, params):\n"
        "    child = subprocess.Popen(['sleep', '60'])\n    child.kill()\n    child.wait()\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
    )
    sight = WorkSight(files=(str(bench.project / "killer.py"),))
    end = bench.run("killer:run", {}, code_files=("killer.py",), sight=sight)
    assert (end.cause, end.again) == ("raised", False)
    assert "PermissionError" in str(end.result.error)
    assert bench.run("nothing").cause == "ok"


def test_limits_hold_while_the_engine_looks_away(bench: Bench) -> None:
    pids = bench.tmp / "pids"
    bench.start("sleeper", {"pids": str(pids)}, timeout=4.0)
    bench.until_started()
    running = _pids(pids)
    assert eventually(lambda: not any(alive(pid) for pid in running))
    assert [each.cause for each in bench.collect() if isinstance(each, Finished)] == ["timeout"]


def test_wait_returns_when_its_time_is_over(bench: Bench) -> None:
    assert bench.executor.wait() == []
    token = bench.start("progress", {"steps": 2, "pause": 0.3})
    before = time.monotonic()
    assert not [each for each in bench.executor.wait(0.0) if isinstance(each, Finished)]
    assert time.monotonic() - before < 5
    assert [each.token for each in bench.collect() if isinstance(each, Finished)] == [token]


def test_many_nodes_at_once(bench: Bench) -> None:
    tokens = [bench.start("progress", {"steps": 1}) for _ in range(40)]
    happened = bench.collect(40)
    assert sorted(each.token for each in happened if isinstance(each, Finished)) == tokens
    assert {each.cause for each in happened if isinstance(each, Finished)} == {"ok"}
    order: dict[int, list[str]] = {}
    for each in happened:
        order.setdefault(each.token, []).append(type(each).__name__)
    for names in order.values():
        assert names[0] == "Started"
        assert names[-1] == "Finished"
    assert any(isinstance(each, Progress) for each in happened)


def test_no_descriptor_is_left_open(bench: Bench) -> None:
    bench.run("nothing")
    before = len(os.listdir("/proc/self/fd"))
    for function in ("nothing", "wrong", "segfault", "noisy"):
        bench.run(function)
    assert len(os.listdir("/proc/self/fd")) == before
