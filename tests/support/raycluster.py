"""A real Ray cluster of two nodes, in a network namespace that has nothing but its own loopback."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PORT = 10001  # in the namespace, where it is free
_PATIENCE = 180  # seconds for a node to start
_ATTEMPTS = 3  # at a cluster: on a busy machine the first imports of Ray's own programs take too long for it
_SCRIPT = """
import fcntl, inspect, json, os, socket, struct, sys, time
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: up
from ray import _raylet
from ray._private import services
from ray.cluster_utils import Cluster
plain = services.get_node
def patient(*words):  # Ray gives a node 30 s to start, which is too little on a busy machine
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return plain(*words)
        except RuntimeError:
            if time.monotonic() > deadline or died():
                raise
            time.sleep(0.2)
def died():  # a raylet gives its agent 15 s to say its ports, though they were given to it, and then aborts
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    name, _, rest = file.read().partition(" (")[2].rpartition(") ")
            except OSError:
                continue
            if name == "raylet" and rest.split()[:2] == ["Z", str(os.getpid())]:
                return True
    return False
services.get_node = patient
start = services.start_raylet
known = inspect.signature(start)
def informed(*words, **named):  # of its agents' ports: it waits 15 s for them to import Ray and say them, then aborts
    given = known.bind(*words, **named).arguments
    for name, number in (("dashboard_agent_listen_port", -1), ("metrics_agent_port", -1), ("metrics_export_port", -1),
                         ("runtime_env_agent_port", given["runtime_env_agent_port"])):
        _raylet.persist_port(given["session_dir"], given["node_id"], name, number)
    return start(*words, **named)
services.start_raylet = informed
size = 80 << 20
port = 20000
def here():  # every port, for a node waits a few seconds only to hear which ones its agents chose
    global port
    port += 10
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    ports = {name: port + number for number, name in enumerate(names)}
    return {"node_ip_address": "127.0.0.1", "object_store_memory": size, "num_cpus": 2, **ports}
cluster = Cluster(initialize_head=True, head_node_args={"resources": {"left": 1}, "ray_client_server_port": PORT,
    "include_dashboard": False, **here()})
def add():
    for attempt in range(ATTEMPTS):
        try:
            return cluster.add_node(resources={"right": 1}, **here())
        except Exception:  # for the same reasons; Ray raises no narrower one
            if attempt == ATTEMPTS - 1:
                raise
right = add()
deadline = time.monotonic() + PATIENCE
while True:  # until Ray Client listens
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=5).close()
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
def say():
    print(json.dumps({"right": [info.process.pid for kind in right.all_processes.values() for info in kind]}),
          file=out, flush=True)
say()
for line in sys.stdin:
    if line.strip() == "kill":
        cluster.remove_node(right, allow_graceful=False)
    elif line.strip() == "add":
        right = add()
    say()
cluster.shutdown()
"""


def lacking() -> str:
    """Why there can be no cluster here; empty if there can."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed: pip install 'compressbuild[ray]'"
    for program in ("unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt install util-linux"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return f"no right to a network namespace: {tried.stderr.strip()}" if tried.returncode else ""


class Cluster:
    """``command``: for $CBUILD_RAY. ``base``: where agents keep their files. ``token``: of the cluster."""

    def __init__(self, place: Path) -> None:
        self.token, self.word = secrets.token_hex(32), secrets.token_hex(8)
        self.base = place / "agent"
        self._temporary = tempfile.mkdtemp(prefix="ray-")  # not below `place`: the path of a socket must be short
        place.mkdir(parents=True, exist_ok=True)
        self._log = open(place / "log", "wb")  # noqa: SIM115  closed with the cluster
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_TMPDIR": self._temporary,
            "HOME": str(place),
            "TZ": "Asia/Tokyo",
            "CLUSTER_OF_TESTS": self.word,
        }
        self.process = subprocess.Popen(
            [
                "unshare",
                "--net",
                sys.executable,
                "-c",
                _SCRIPT.replace("PORT", str(_PORT))
                .replace("PATIENCE", str(_PATIENCE))
                .replace("ATTEMPTS", str(_ATTEMPTS)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            text=True,
            start_new_session=True,
        )
        try:
            self.right = self._hear()
        except BaseException:
            self.close()
            raise
        self.command = f"nsenter --net=/proc/{self.process.pid}/ns/net {sys.executable}"

    def address(self, **options: Any) -> str:
        given = {"directory": self.base, **options}
        return f"ray://127.0.0.1:{_PORT}?" + "&".join(f"{name}={value}" for name, value in given.items())

    def order(self, word: str) -> None:
        """``kill`` the second node as a power failure would, or ``add`` one."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        self.right = self._hear()

    def _hear(self) -> list[int]:
        """Processes of the second node."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the cluster does not start: {Path(self._log.name).read_text()[-2000:]}")
        found: list[int] = json.loads(line)["right"]
        return found

    def processes(self, word: str) -> list[int]:
        """Those of the cluster with a word in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    ours = f"CLUSTER_OF_TESTS={self.word}".encode() in (entry / "environ").read_bytes()
                    if ours and word.encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    @property
    def workers(self) -> list[int]:
        """Processes of Ray that have an agent."""
        return self.processes("ray::Bridge")

    @property
    def agents(self) -> list[int]:
        """Agents, their warm parents and what runs in these."""
        return self.processes("cbuild-agent")

    def on_the_second(self, pid: int) -> bool:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) in self.right

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in self.processes(""):  # what Ray left
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._log.close()
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextlib.contextmanager
def cluster(place: Path) -> Iterator[Cluster]:
    for attempt in range(_ATTEMPTS):
        try:
            found = Cluster(place)
            break
        except RuntimeError:
            if attempt == _ATTEMPTS - 1:
                raise
    try:
        yield found
    finally:
        found.close()
