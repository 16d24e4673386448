"""Builds on a real Ray cluster of two nodes: what they give, and what faults cost. The executor's contract, too.

One file, so that there is one cluster: it takes half a minute to start, and 600 MB. Each connection takes seconds, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import toy as toy_plugin
from elsewhere import Elsewhere, on_work, signalled, started
from raycluster import Cluster, cluster, lacking

from compressbuild.api.conformance import ExecutorContract
from compressbuild.errors import Incompatible
from compressbuild.execute.events import NodeFinished, NodeStarted, NodeWorking
from compressbuild.machines.machines import Machines
from compressbuild.machines.session import Unreachable
from compressbuild.registry import discover

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := lacking():
        pytest.skip(why)
    with cluster(tmp_path_factory.mktemp("ray")) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBUILD_RAY", found.command)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", found.token)
        patch.setenv("PYTHONPATH", os.path.dirname(toy_plugin.__file__), prepend=os.pathsep)
        yield found


class TestRay(ExecutorContract):
    executor = "ray"
    unreachable = "ray://127.0.0.1:1"
    patience = 240.0
    _cluster: Cluster

    @pytest.fixture(autouse=True)
    def _reach(self, ray: Cluster) -> None:
        type(self)._cluster = ray

    def address(self) -> str:
        return self._cluster.address()


@pytest.fixture
def remote(tmp_path: Path, ray: Cluster) -> Elsewhere:
    return Elsewhere(tmp_path / "project", ray.address())


def two(project: Elsewhere, seconds: float) -> None:
    """Two targets that take some time, from one."""
    project.text(f"{{note: n, seconds: {seconds}}}")
    with open(project.root / "Compressfile", "a") as file:
        file.write(f"\n  c: {{from: a, steps: [{{toy.copy: {{note: c, seconds: {seconds}}}}}]}}\n")


def nothing_left(ray: Cluster, *, killed: bool = False) -> bool:
    """No actor, agent or session's directory, in a while. An agent that was ``killed`` leaves its directory to the next
    one there."""
    deadline = time.monotonic() + 60
    while ray.workers or ray.agents or (not killed and list((ray.base / "sessions").glob("session-*"))):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


# -- what it gives -----------------------------------------------------------------------------------------------------


def test_the_same_bytes_as_here(tmp_path: Path, ray: Cluster) -> None:
    """On two workers, which are on two nodes."""
    remote = Elsewhere(tmp_path / "project", ray.address(workers=2))
    two(remote, 2)
    places: list[bool] = []

    def look(event: object) -> None:
        if isinstance(event, NodeWorking) and event.node in ("b/toy.copy", "c/toy.copy"):
            places[:] = [ray.on_the_second(pid) for pid in ray.workers]

    there = remote.make(also=look)
    assert there.exit_code == 0, remote.failure()
    assert sorted(places) == [False, True]
    assert set(remote.ran) == {"f/source", "a/toy.mix", "a/length", "b/toy.copy", "c/toy.copy"}
    events = [e for e in remote.seen if isinstance(e, NodeStarted | NodeFinished) and e.node[0] in "bc"]
    assert [type(e) for e in events[:2]] == [NodeStarted, NodeStarted], "each worker has one CPU, and one of them"
    assert nothing_left(ray)
    remote.make()
    assert remote.ran == []
    here = Elsewhere(tmp_path / "other", "")
    two(here, 2)
    local = here.make()
    assert [t.digest for t in there.targets] == [t.digest for t in local.targets]


def test_the_agent_has_what_was_asked_for(tmp_path: Path, ray: Cluster) -> None:
    machines = Machines(discover(cache=None), tmp_path, "auto")
    facts = machines.facts(ray.address(cpus=2))
    assert facts.get("cpu.count") == min(2, len(os.sched_getaffinity(0)))
    machines.close()
    machines = Machines(discover(cache=None), tmp_path, "auto")
    assert machines.facts(ray.address(cpus=1)).get("cpu.count") == 1
    machines.close()


# -- what cannot be had ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cpus": 64}, "no node of the cluster has 64 CPUs: the largest has 2 CPUs"),
        ({"gpus": 1}, "no node of the cluster has 1 GPU: none has any"),
        ({"accelerator": "A100"}, "no node of the cluster has the accelerator A100: none has any"),
        ({"custom": "left:1,right:1"}, "no node of the cluster has 1 CPU, 1 left, 1 right together"),
        ({"memory": "900G"}, "no node of the cluster has 900.0 GiB of memory: the largest has"),
        ({"node": "10.9.9.9"}, "no node of the cluster has the address 10.9.9.9: none has any"),
        ({"cpus": 64, "wait": 1}, "the cluster had no room for 64 CPUs in 1 s"),
        ({"python": "/none/python"}, "No such file or directory: '/none/python'"),
    ],
)
def test_what_the_cluster_has_not(tmp_path: Path, ray: Cluster, options: dict[str, object], says: str) -> None:
    machines = Machines(discover(cache=None), tmp_path, "auto")
    with pytest.raises(Unreachable) as raised:
        machines.session(ray.address(**options))
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.hint or "python" in options
    machines.close()
    assert nothing_left(ray)


def test_a_wrong_token(remote: Elsewhere, ray: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(Incompatible) as raised:
        remote.make("b")
    assert "cannot be reached" in str(raised.value)
    assert "token" in f"{raised.value}{raised.value.hint}".lower()


def test_no_ray_there(remote: Elsewhere, ray: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBUILD_RAY", "/none/python")
    with pytest.raises(Incompatible) as raised:
        remote.make("b")
    assert "cannot run /none/python: No such file or directory" in str(raised.value)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_worker_is_killed(remote: Elsewhere, ray: Cluster) -> None:
    remote.text("{seconds: 2}")
    report = remote.make(also=on_work("b/toy.copy", lambda: [os.kill(pid, signal.SIGKILL) for pid in ray.workers]))
    assert report.exit_code == 0
    assert remote.begun("b/toy.copy") == 2, "it started once more"
    assert remote.ran.count("a/toy.mix") == 1
    assert nothing_left(ray)


def test_a_process_of_a_node_is_killed(remote: Elsewhere, ray: Cluster) -> None:
    """The worker stays. The cause is said as it is here, and `retries` decides."""
    remote.text("{fail: crash}")
    assert remote.make("b").exit_code == 1
    assert (remote.failure().cause, remote.failure().error) == ("crashed", "crashed: aborted (SIGABRT)")
    log = remote.failure().log
    assert log is not None
    assert "about to crash" in Path(log).read_text()


def test_a_node_of_the_cluster_is_lost(tmp_path: Path, ray: Cluster) -> None:
    remote = Elsewhere(tmp_path / "project", ray.address(workers=2))
    two(remote, 60)  # on a busy machine the second worker takes half a minute to come
    lost: list[int] = []

    def kill() -> None:
        lost.extend(pid for pid in ray.workers if ray.on_the_second(pid))
        ray.order("kill")

    both: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, NodeWorking) and event.node in ("b/toy.copy", "c/toy.copy") and event.node not in both:
            both.append(event.node)
            if len(both) == 2:
                threading.Thread(target=kill).start()

    try:
        report = remote.make("b", "c", also=observe)
    finally:
        ray.order("add")
    if not lost:
        pytest.skip("Ray put both workers on one node, which 'SPREAD' only tries to avoid")
    assert report.exit_code == 0
    assert remote.begun("b/toy.copy") + remote.begun("c/toy.copy") == 3, "one of them started once more"
    assert remote.begun("a/toy.mix") == 1
    assert nothing_left(ray, killed=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The code fits on it, and not much more."""
    place = tmp_path / "small"
    place.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)], capture_output=True)
    if tried.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_there(tmp_path: Path, ray: Cluster, small_disk: Path) -> None:
    """What fits is built; then, with a larger disk, the rest."""
    text = """\
version: 1
host: "{host}"
models: {{f: {{file: f.txt}}, g: {{file: g.txt}}}}
targets:
  a: {{from: f, steps: [{{toy.mix: {{salt: 1}}}}]}}
  b: {{from: g, steps: [{{toy.copy: {{note: n}}}}]}}
"""
    remote = Elsewhere(tmp_path / "project", "")
    remote.write("g.txt", os.urandom(8 << 20).hex())
    remote.write("Compressfile", text.format(host=ray.address(directory=small_disk)))
    assert remote.make(keep_going=True).exit_code == 1
    assert remote.failure().node == "b/toy.copy"
    assert "No space left on device" in (remote.failure().error or "")
    assert "a/toy.mix" in remote.ran
    remote.write("Compressfile", text.format(host=ray.address()))
    assert remote.make().exit_code == 0
    assert remote.ran == ["b/toy.copy"]


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted(remote: Elsewhere, ray: Cluster, by: signal.Signals) -> None:
    """Ctrl-C, and the death of the engine: no actor is left."""
    remote.text("{seconds: 60}")
    with remote.command() as process:
        started(process, "b/toy.copy")
        assert len(ray.workers) == 1
        assert signalled(process, by) == (-by if by == signal.SIGKILL else 130)
    assert nothing_left(ray)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_it_waits_for_room(tmp_path: Path, ray: Cluster, by: signal.Signals) -> None:
    """The worker that it asked for does not come later."""
    machines = Machines(discover(cache=None), tmp_path, "auto")
    address = ray.address(custom="left:1", wait=100)
    machines.session(address)  # the only one
    remote = Elsewhere(tmp_path / "project", address)
    with remote.command() as process:
        started(process, "waiting room for 1 CPU, 1 left")
        assert len(ray.workers) == 1
        assert signalled(process, by) in (130, -by)
    machines.close()
    assert nothing_left(ray)
    with closing(Machines(discover(cache=None), tmp_path, "auto")) as machines:
        machines.session(address)  # there is room
