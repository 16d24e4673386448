"""A real Slurm cluster on loopback: munged, slurmctld and two slurmd, with files, ports and a key of their own."""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
PROGRAMS = {name: shutil.which(name, path=_SBIN) for name in ("munged", "slurmctld", "slurmd", "srun", "squeue")}
LACKS = [name for name, path in PROGRAMS.items() if path is None]

_PR_SET_PDEATHSIG = 1
_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={place}/munge.socket
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=6
KillWait=2
MessageTimeout=5
MinJobAge=2
GresTypes=board
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1024 Feature=small State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1024 Gres=board:1 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
"""


@dataclass
class Cluster:
    """``conf``: what $SLURM_CONF is to name. ``home``: where agents keep their files; the nodes share it, as nodes of a
    cluster share home directories. ``daemons``: the process of each, by its name."""

    place: Path
    conf: Path
    home: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, *words: str) -> str:
        """The output of one of Slurm's commands."""
        environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> list[str]:
        """Jobs that the cluster has, with their states."""
        return self.run("squeue", "--noheader", "--format=%i %T %N").split("\n")[:-1]

    def start(self, name: str, *words: str) -> None:
        program = PROGRAMS[name.partition("-")[0]]
        assert program is not None
        environment = {"PATH": _SBIN, "SLURM_CONF": str(self.conf)}
        with open(self.place / f"{name}.out", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                preexec_fn=_with_its_parent,
            )

    def start_node(self, name: str) -> None:
        self.start(f"slurmd-{name}", "-D", "-N", name)

    def kill(self, name: str) -> None:
        self.daemons[name].send_signal(signal.SIGKILL)
        self.daemons[name].wait(10)

    def states(self) -> dict[str, str]:
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").split("\n")[:-1]
        return {line.split()[0]: line.split()[1] for line in lines}

    def until_idle(self, seconds: float = 60.0) -> None:
        """Every node is there and has nothing to do."""
        deadline = time.monotonic() + seconds
        while (found := self.states()) != {"n1": "idle", "n2": "idle"}:
            assert time.monotonic() < deadline, f"{found}, jobs {self.jobs()}: {self._logs()}"
            time.sleep(0.1)

    def _logs(self) -> str:
        return "\n".join(line for path in self.place.glob("*.log") for line in path.read_text().splitlines()[-5:])

    def stop(self) -> None:
        for process in reversed(self.daemons.values()):
            process.terminate()
        for process in self.daemons.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _with_its_parent() -> None:
    """In a daemon: end when the tests do, however they end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def slurm_cluster(place: Path) -> Iterator[Cluster]:
    """Below ``place``, whose path must be short: it holds a socket."""
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o755)
    for name in ("home", "state", "spool-n1", "spool-n2"):
        (place / name).mkdir()
    (place / "munge.key").write_bytes(os.urandom(64))
    (place / "munge.key").chmod(0o600)
    conf = place / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    conf.write_text(_CONF.format(host=host, user=getpass.getuser(), place=place, ports=_free_ports(3)))
    (place / "gres.conf").write_text("NodeName=n2 Name=board Count=1\n")
    (place / "cgroup.conf").write_text("CgroupPlugin=autodetect\n")
    cluster = Cluster(place, conf, place / "home")
    try:
        cluster.start(
            *("munged", "--foreground", "--force", f"--socket={place}/munge.socket", f"--key-file={place}/munge.key"),
            *(f"--log-file={place}/munge.log", f"--pid-file={place}/munge.pid", f"--seed-file={place}/munge.seed"),
        )
        _until(lambda: (place / "munge.socket").exists(), "munged", cluster)
        cluster.start("slurmctld", "-D", "-i")
        cluster.start_node("n1")
        cluster.start_node("n2")
        _until(lambda: _answers(cluster), "slurmctld", cluster)
        cluster.until_idle()
        yield cluster
    finally:
        cluster.stop()


def _answers(cluster: Cluster) -> bool:
    environment = {**os.environ, "SLURM_CONF": str(cluster.conf)}
    done = subprocess.run(["sinfo", "-h"], capture_output=True, env=environment, timeout=60, check=False)
    return done.returncode == 0


def _until(there: object, name: str, cluster: Cluster, seconds: float = 60.0) -> None:
    assert callable(there)
    deadline = time.monotonic() + seconds
    while not there():
        process = cluster.daemons[name]
        said = cluster.place / f"{name}.out"
        assert process.poll() is None, f"{name} ended: {said.read_text()}"
        assert time.monotonic() < deadline, f"{name} does not start: {said.read_text()}"
        time.sleep(0.05)
