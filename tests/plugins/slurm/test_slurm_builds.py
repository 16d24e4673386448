"""Builds in a Slurm allocation, against a real cluster of two nodes: what they give, and what faults cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elsewhere import Elsewhere, on_work, signalled, started
from slurmcluster import Cluster
from sshd import running

from compressbuild.errors import Incompatible

Make = Callable[..., Elsewhere]
SIGNALS = [signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]


@pytest.fixture
def make(cluster: Cluster, home: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes a project for an address with these options."""

    def made(
        partition: str = "main", into: str = "project", directory: Path = home / "agent", **options: object
    ) -> Elsewhere:
        given = {"python": sys.executable, "directory": directory, **options}
        return Elsewhere(
            tmp_path / into, f"slurm://{partition}?" + "&".join(f"{key}={value}" for key, value in given.items())
        )

    yield made
    nothing_left(cluster, home)
    cluster.until_idle()


@pytest.fixture
def full(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """A cluster that others use. Call it, and they go."""
    before = [
        subprocess.Popen(
            ["srun", "--exclusive", f"--nodelist={node}", "--quiet", "sleep", "300"], stderr=subprocess.PIPE
        )
        for node in ("n1", "n2")
    ]
    _until(lambda: sum("RUNNING" in job for job in cluster.jobs()) == 2, lambda: str(cluster.jobs()))

    def leave() -> None:
        for process in before:
            process.terminate()

    yield leave
    leave()
    for process in before:
        process.wait(30)
    cluster.until_idle()


def _until(there: Callable[[], bool], what: Callable[[], str], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def nothing_left(cluster: Cluster, home: Path) -> None:
    """Neither a job, nor a process, nor a session's directory, in a while."""

    def left() -> list[object]:
        return [*cluster.jobs(), *running(str(home)), *(home / "agent/sessions").glob("session-*")]

    _until(lambda: not left(), lambda: str(left()))


def node_of(cluster: Cluster) -> str:
    """The node that runs the only job."""
    (job,) = cluster.jobs()
    return job.split()[2]


def stepds() -> list[int]:
    """Slurm's processes that look after the steps of jobs."""
    return running("slurmstepd: [")


# -- what it gives -----------------------------------------------------------------------------------------------------


def test_the_same_bytes_as_here(make: Make) -> None:
    there = make()
    report = there.make()
    assert report.exit_code == 0
    assert set(there.ran) == {"f/source", "a/toy.mix", "a/length", "b/toy.copy"}
    here = make(into="here")
    here.address = ""
    here.text()
    assert [t.digest for t in report.targets] == [t.digest for t in here.make().targets]
    there.make()
    assert there.ran == []


def test_a_job_is_as_its_address_says(make: Make, cluster: Cluster) -> None:
    """What it asks Slurm for; and what the agent believes that it has, though nothing enforces it."""
    project = make(cpus=2, mem="512M", gres="board:1", time="0:30:00", name="compress", exclusive="true")
    opened = project.open()
    try:
        assert opened.machines is not None
        facts = opened.machines.facts(project.address)
        assert (facts.get("cpu.count"), facts.get("memory")) == (min(2, os.cpu_count() or 1), 512 << 20)
        said = cluster.run("squeue", "-h", "-o", "%j %C %m %b %l %N")
        assert said.split() == ["compress", "2", "512M", "gres:board:1", "30:00", "n2"]
    finally:
        opened.close()


def test_two_nodes_of_one_image(make: Make) -> None:
    """Both run here, so they share a machine-id; their measurements are not shared."""
    hosts = []
    for node in ("n1", "n2"):
        project = make(node=node, into=node)
        opened = project.open()
        try:
            assert opened.machines is not None
            ready = opened.machines.ready(project.address)
            assert ready is not None
            hosts.append(ready.host)
        finally:
            opened.close()
    assert hosts[0] != hosts[1]


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_what_it_waits_for_is_shown(make: Make, full: Callable[[], None]) -> None:
    project = make()

    def once_it_waits(event: object) -> None:
        if any("is pending (" in text for text in project.waits):
            full()

    assert project.make(also=once_it_waits).exit_code == 0
    assert any(reason in text for text in project.waits for reason in ("(Resources)", "(Priority)", "(ReqNodeNotAvail"))
    assert project.waits[-1] == "", "it is ready at last"


def test_patience_has_an_end(make: Make, full: Callable[[], None]) -> None:
    release = threading.Timer(90, full)  # a wait without an end comes to one here, and fails
    release.start()
    try:
        with pytest.raises(Incompatible) as raised:
            make(wait=0.02).make("b")
    finally:
        release.cancel()
    assert "after 0.02 min" in str(raised.value)
    assert "let 'wait' be longer" in str(raised.value.hint)


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_in_the_queue(make: Make, full: Callable[[], None], cluster: Cluster, number: int) -> None:
    """The others' two jobs stay, and no third."""
    process = make().command()
    started(process, "waiting job ")
    assert signalled(process, number) in (130, -signal.SIGKILL)
    _until(lambda: len(cluster.jobs()) == 2, lambda: str(cluster.jobs()))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("partition", "options", "says", "step"),
    [
        ("nowhere", {}, "nvalid partition name", "'sinfo -s' lists the partitions"),
        ("main", {"cpus": 99}, "can never start (PartitionConfig)", "lists what it has"),
        ("main", {"time": "5-0"}, "can never start (PartitionTimeLimit)", "ask for less 'time'"),
        ("main", {"mem": "9T"}, "ode configuration is not available", "lists what nodes have"),
        ("main", {"gres": "gpu:1"}, "nvalid generic resource (gres) specification", "lists the generic resources"),
        ("main", {"constraint": "huge"}, "nvalid feature specification", "lists the features"),
        ("main", {"node": "n9"}, "node name", "'sinfo -N' lists the nodes"),
        ("main", {"python": "/no/python"}, "No such file or directory", "must be a Python on the node"),
    ],
)
def test_what_cannot_be_had(make: Make, partition: str, options: dict[str, object], says: str, step: str) -> None:
    with pytest.raises(Incompatible) as raised:
        make(partition, wait=2, **options).make("b")  # minutes, far more than an answer takes
    assert says in str(raised.value)
    assert step in str(raised.value.hint)
    assert "\n" not in str(raised.value).partition("\n  ")[0]


@pytest.mark.parametrize(
    ("was", "to", "step"),
    [
        pytest.param("munge.socket", "no.socket", "'munge -n | unmunge'", marks=pytest.mark.slow),
        ("SlurmctldPort=", "SlurmctldPort=1 #", "'scontrol ping'"),
    ],
)
def test_slurm_does_not_answer(
    make: Make, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: str, to: str, step: str
) -> None:
    (tmp_path / "slurm.conf").write_text(cluster.conf.read_text().replace(was, to))
    project = make()
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        with pytest.raises(Incompatible) as raised:
            project.make("b")
    assert step in str(raised.value.hint)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_cancelled_job_loses_nothing_finished(make: Make, cluster: Cluster) -> None:
    """As when the administrator, or a time limit, ends it: the node that ran starts once more in another job."""
    project = make()
    project.text("{seconds: 1.5}")
    report = project.make(also=on_work("b/toy.copy", lambda: _cancel(cluster)))
    assert report.exit_code == 0
    assert project.ran.count("a/toy.mix") == 1
    assert (project.begun("a/toy.mix"), project.begun("b/toy.copy")) == (1, 2)


def _cancel(cluster: Cluster) -> None:
    cluster.run("scancel", cluster.jobs()[0].split()[0])


@pytest.mark.slow
def test_a_job_that_is_always_cancelled(make: Make, cluster: Cluster) -> None:
    project = make()
    project.text("{seconds: 30}")

    def again(event: object) -> None:
        if getattr(event, "node", "") == "b/toy.copy" and type(event).__name__ == "NodeWorking":
            threading.Timer(0.2, _cancel, [cluster]).start()

    assert project.make("b", also=again).exit_code == 1
    assert "CANCELLED" in (project.failure().error or "")
    project.text("{seconds: 0}")
    assert project.make("b").exit_code == 0
    assert "a/toy.mix" not in project.ran


def test_a_worker_is_killed(make: Make, home: Path) -> None:
    """It counts as a crash, as here; asked for, it starts once more, in the same job."""
    project = make()
    project.text("{seconds: 1.5}, retries: {crashed: 1}")

    def kill() -> None:
        (worker,) = (pid for pid in running(str(home)) if "/node-" in os.readlink(f"/proc/{pid}/cwd"))
        os.kill(worker, signal.SIGKILL)

    report = project.make(also=on_work("b/toy.copy", kill))
    assert report.exit_code == 0
    assert (project.begun("a/toy.mix"), project.begun("b/toy.copy")) == (1, 2)


def test_slurmd_is_killed(make: Make, cluster: Cluster) -> None:
    """A job outlives its slurmd, so the build goes on; the node is cleared when slurmd is back."""
    project = make()
    project.text("{seconds: 1.5}")
    killed: list[str] = []

    def kill() -> None:
        killed.append(node_of(cluster))
        cluster.kill(f"slurmd-{killed[0]}")

    report = project.make(also=on_work("b/toy.copy", kill))
    cluster.start_node(killed[0])
    assert report.exit_code == 0
    assert (project.begun("a/toy.mix"), project.begun("b/toy.copy")) == (1, 1)


@pytest.mark.slow
def test_a_node_dies(make: Make, cluster: Cluster) -> None:
    """What ran there starts once more on the other. A measurement that is keyed for the dead one does not."""
    project = make()
    project.text("{seconds: 1.5}", metrics="length, wait")
    killed: list[str] = []

    def kill() -> None:
        killed.append(node_of(cluster))
        cluster.run("scontrol", "update", f"nodename={killed[0]}", "state=drain", "reason=test")
        cluster.kill(f"slurmd-{killed[0]}")
        for pid in stepds():
            os.kill(pid, signal.SIGKILL)

    report = project.make("b", keep_going=True, also=on_work("b/toy.copy", kill))
    cluster.start_node(killed[0])
    cluster.run("scontrol", "update", f"nodename={killed[0]}", "state=resume")
    assert (project.begun("a/toy.mix"), project.begun("b/toy.copy")) == (1, 2)
    assert report.exit_code == 1
    assert project.failure().node == "b/wait"
    assert "the machine is not what it was planned for: host is" in (project.failure().error or "")


def test_a_full_disk_there(make: Make, cluster: Cluster, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        (place / "fill").touch()  # its place in the directory is not to lack
        project = make(directory=place / "agent")
        assert project.make("a").exit_code == 0
        _fill(place / "fill")
        assert project.make("b").exit_code == 1
        assert "No space left on device" in (project.failure().error or "")
        (place / "fill").unlink()
        assert project.make("b").exit_code == 0
        assert project.ran.count("b/toy.copy") == 1
        assert "a/toy.mix" not in project.ran
        _until(lambda: not cluster.jobs(), lambda: str(cluster.jobs()))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _fill(path: Path) -> None:
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))


@pytest.mark.parametrize("number", SIGNALS)
def test_interrupted_at_work(make: Make, number: int) -> None:
    """That neither a job nor a process stays is what every test here ends with."""
    project = make()
    project.text("{seconds: 120}")
    process = project.command()
    started(process, "b/toy.copy")
    assert signalled(process, number) in (130, -signal.SIGKILL)
