"""Builds on a machine that ssh reaches, against a real sshd: what they give, and what faults cost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import toy as toy_plugin
from gpus import DEVICES, two_gpus
from msgspec.structs import replace
from sshd import Sshd, running
from toyproject import Toy

from compressbuild.build.outcome import BuildReport
from compressbuild.build.run import build_targets
from compressbuild.errors import Incompatible
from compressbuild.execute.events import NodeFinished, NodeWorking
from compressbuild.machines.session import Session
from compressbuild.machines.wire import Put

ROOT = Path(__file__).parents[3]
TEXT = """\
version: 1
{host}
models: {{f: {{file: f.txt}}}}
evaluate: {{metrics: [length, wait]}}
targets:
  a: {{from: f, steps: [{{toy.mix: {{salt: 1}}}}]}}
  b: {{from: a, steps: [{{toy.copy: {options}}}]}}
"""


class Remote(Toy):
    """A toy project that is built for real. ``ran``: nodes of the last build that ran; ``seen``: its events."""

    def __init__(self, root: Path, server: Sshd) -> None:
        super().__init__(root)
        self.server = server
        self.environ = {**os.environ, "PYTHONPATH": str(Path(toy_plugin.__file__).parent)}
        self.write("f.txt", "hello")
        self.text()

    def text(self, options: str = "{note: n}", host: str | None = None) -> None:
        address = self.server.address if host is None else host
        self.write("Compressfile", TEXT.format(host=f'host: "{address}"' if address else "", options=options))

    def make(self, *words: str, also: Callable[[object], None] = lambda event: None, **options: bool) -> BuildReport:
        self.seen: list[object] = []
        project = self.open()
        try:
            return build_targets(project, words or ("all",), observers=[self.seen.append, also], **options)
        finally:
            project.close()

    @property
    def ran(self) -> list[str]:
        return [e.node for e in self.seen if isinstance(e, NodeFinished) and e.status not in ("cached", "skipped")]

    def failure(self) -> NodeFinished:
        return next(e for e in self.seen if isinstance(e, NodeFinished) and e.status == "failed")


@pytest.fixture
def remote(tmp_path: Path, server: Sshd) -> Remote:
    return Remote(tmp_path / "project", server)


def nothing_left(server: Sshd) -> bool:
    """Neither a process nor a session's directory, in a few seconds."""
    deadline = time.monotonic() + 30
    while running(str(server.home)) or list((server.base / "sessions").glob("session-*")):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def on_work(node: str, do: Callable[[], None]) -> Callable[[object], None]:
    """Does something once, when a node's process has run for a moment."""
    done: list[threading.Timer] = []

    def observe(event: object) -> None:
        if isinstance(event, NodeWorking) and event.node == node and not done:
            done.append(threading.Timer(0.3, do))
            done[0].start()

    return observe


def cut(server: Sshd) -> None:
    """As when the network goes: sshd's process of each connection dies, without a word to either side."""
    for pid in server.connections():
        for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
            os.kill(int(child), signal.SIGKILL) if _name(child).startswith("sshd") else None
        os.kill(pid, signal.SIGKILL)


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


# -- what it gives -----------------------------------------------------------------------------------------------------


def test_the_same_bytes_as_here(remote: Remote, tmp_path: Path, server: Sshd) -> None:
    there = remote.make()
    assert there.exit_code == 0
    assert set(remote.ran) == {"f/source", "a/toy.mix", "a/length", "a/wait", "b/toy.copy"}
    here = Remote(tmp_path / "other", server)
    here.text(host="")
    local = here.make()
    assert [t.digest for t in there.targets] == [t.digest for t in local.targets]
    assert nothing_left(server)
    remote.make()
    assert remote.ran == []


def test_keys_are_those_of_here_but_for_measurements(remote: Remote) -> None:
    """One machine, reached in two ways: what is deterministic is shared, a latency is not."""
    remote.make()
    remote.text(host="")
    remote.make()
    assert remote.ran == ["a/wait"]  # b has the same bytes


def test_a_latency_is_of_one_machine(remote: Remote) -> None:
    """Two boards with equal facts: their compiled artifacts are shared, their measurements are not."""
    project = remote.open()
    try:
        assert project.machines is not None
        address = remote.server.address
        nodes = {node.position: node for node in project.graph.nodes}
        keys = []
        for host in ("one", "two"):
            known = project.machines._known[address]
            known.ready = replace(known.ready, host=host)
            keys.append({p: project.keyer.parts(n, dict.fromkeys(n.inputs, "0" * 64)) for p, n in nodes.items()})
        differing = [position for position in keys[0] if keys[0][position] != keys[1][position]]
        assert sorted(differing) == ["a/wait", "b/wait"]
    finally:
        project.close()


def test_each_has_a_gpu_of_that_machine(remote: Remote, server: Sshd, tmp_path: Path) -> None:
    """Its devices are counted there, and given out here: two steps at once get one each."""
    (tmp_path / "python").write_text(
        f'#!/bin/sh\nPATH="{two_gpus(tmp_path / "smi")}:$PATH" CBUILD_CPUS=2 exec {sys.executable} "$@"\n'
    )
    (tmp_path / "python").chmod(0o755)
    remote.text(
        "{fail: devices, seconds: 1, note: n}, gpus: 1",
        host=server.address.replace(sys.executable, str(tmp_path / "python")),
    )
    with open(remote.root / "Compressfile", "a") as file:
        file.write("  c: {from: a, steps: [{toy.copy: {fail: devices, seconds: 1}, gpus: 1}]}\n")
        file.write("  d: {from: a, steps: [{toy.copy: {fail: devices, seconds: 1, note: none}}]}\n")
    assert remote.make("b", "c", "d").exit_code == 0, remote.failure()
    assert sorted((remote.value("b"), remote.value("c"))) == DEVICES
    assert remote.value("d") == "all", "a step that asks for none sees all"


def test_only_what_is_missing_is_sent(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    plain = Session.send

    def send(session: Session, message: object, *files: object) -> None:
        if isinstance(message, Put):
            sent.append(message.digest)
        plain(session, message, *files)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "send", send)
    remote.write("f.txt", os.urandom(9).hex())
    remote.make()
    first = list(sent)
    assert len(first) == len(set(first))
    remote.text("{note: other}")
    remote.make()
    assert "b/toy.copy" in remote.ran
    assert sent == first, "its input is there, from the build before"


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_cut_connection_loses_nothing_finished(remote: Remote, server: Sshd) -> None:
    remote.text("{seconds: 5}")  # on a busy machine the cut takes a while
    report = remote.make(also=on_work("b/toy.copy", lambda: cut(server)))
    assert report.exit_code == 0
    assert remote.ran.count("a/toy.mix") == 1
    assert sum(isinstance(e, NodeWorking) and e.node == "b/toy.copy" for e in remote.seen) == 2, "it started once more"
    assert nothing_left(server)


def test_a_machine_that_is_always_cut(remote: Remote, server: Sshd) -> None:
    """After two losses the node fails; what is finished stays."""
    remote.text("{seconds: 30}")

    def again(event: object) -> None:
        if isinstance(event, NodeWorking) and event.node == "b/toy.copy":
            threading.Timer(0.3, cut, [server]).start()

    assert remote.make("b", also=again).exit_code == 1
    assert remote.failure().cause == "unavailable"
    assert "was cut" in (remote.failure().error or "")
    assert nothing_left(server)
    remote.text("{seconds: 0}")
    assert remote.make("b").exit_code == 0
    assert "a/toy.mix" not in remote.ran


def test_a_full_disk_there(remote: Remote, server: Sshd, tmp_path: Path) -> None:
    """The step fails and says why; what was finished before is kept. With room again, only the rest runs."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        remote.text(host=server.address.replace("~/agent", str(place / "agent")))
        (place / "fill").touch()  # its place in the directory is not to lack
        assert remote.make("a").exit_code == 0
        assert "a/toy.mix" in remote.ran
        with open(place / "fill", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 12))
        assert remote.make("b").exit_code == 1
        assert remote.failure().node == "b/toy.copy"
        assert "No space left on device" in (remote.failure().error or "")
        (place / "fill").unlink()
        assert remote.make("b").exit_code == 0
        assert remote.ran.count("b/toy.copy") == 1
        assert "a/toy.mix" not in remote.ran
        assert nothing_left(server)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_interrupted(remote: Remote, server: Sshd) -> None:
    remote.text("{seconds: 60}")
    script = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'plugins'), str(Path(toy_plugin.__file__).parent)]}\n"
        "from pathlib import Path\nfrom toyproject import Toy\nfrom compressbuild.build.run import build_targets\n"
        "from compressbuild.errors import Interrupted\n"
        f"toy = Toy(Path({str(remote.root)!r}))\nimport os\ntoy.environ = dict(os.environ)\nproject = toy.open()\n"
        "from compressbuild.execute.events import NodeWorking\n"
        "tell = lambda e: print(e.node, flush=True) if isinstance(e, NodeWorking) else None\n"
        "try:\n    build_targets(project, ['b'], observers=[tell])\n"
        "except Interrupted:\n    project.close(); sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=remote.environ, start_new_session=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "b/toy.copy":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(30) == 130
    assert nothing_left(server)


def test_an_unknown_host_key(remote: Remote, server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Obeyed: nothing is sent to a machine that may be another."""
    monkeypatch.setenv("CBUILD_SSH", f"{server.command} -o UserKnownHostsFile={tmp_path}/none")
    with pytest.raises(Incompatible) as raised:
        remote.make("b")
    assert "cannot be reached: Host key verification failed." in str(raised.value)


def test_what_is_kept_there_is_damaged(remote: Remote, server: Sshd) -> None:
    remote.write("f.txt", "to be damaged")
    remote.make()
    for blob in (server.base / "blobs").glob("??/*"):
        blob.chmod(0o600)
        blob.write_bytes(b"rot")
    remote.text("{note: again}")
    assert remote.make().exit_code == 0
    assert remote.ran.count("b/toy.copy") == 1
    here = Remote(remote.root.parent / "here", server)
    here.write("f.txt", "to be damaged")
    here.text("{note: again}", host="")
    here.make("b")
    assert here.value("b") == remote.value("b")


def test_code_there_that_somebody_edited(remote: Remote, server: Sshd) -> None:
    """It is checked when the agent starts, and sent again."""
    remote.make()
    for path in (server.base / "code").glob("*/toy.py"):
        path.write_text(path.read_text().replace("total % params.modulus", "'wrong'"))
    remote.text("{note: n}")
    remote.write("f.txt", "other text")
    assert remote.make().exit_code == 0
    assert remote.value("a") != "wrong"


def test_other_bytes_are_reported_and_not_kept(remote: Remote, server: Sshd) -> None:
    """A deterministic node gave these bytes before. They were evicted, and the machine gives others."""
    remote.text("{fail: random}")
    (first,) = remote.make("b").targets
    project = remote.open()
    for digest in (first.digest, *(file.digest for file in project.store.cas.read_tree(first.digest).files)):
        os.unlink(project.store.cas._dir.object(digest))
    project.close()
    report = remote.make("b")
    assert report.exit_code == 1
    assert remote.failure().cause == "differs"
    assert f"but {server.address} produced different bytes: value" in (remote.failure().error or "")
    assert remote.make("b").exit_code == 1, "nothing was kept"


def test_a_node_that_fails_there(remote: Remote) -> None:
    """Cause, message and log are as they are here."""
    remote.text("{fail: crash}")
    assert remote.make("b").exit_code == 1
    failure = remote.failure()
    assert (failure.cause, failure.error) == ("crashed", "crashed: aborted (SIGABRT)")
    assert failure.log is not None
    assert "about to crash" in Path(failure.log).read_text()
