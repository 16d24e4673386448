"""What comes from another machine is data: it cannot write elsewhere, and what cannot be kept is said."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nearby import Nearby

from compressbuild.api import WorkInput, WorkRequest, WorkResult
from compressbuild.execute.away import Away
from compressbuild.execute.executor import Finished
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.machines import Machines
from compressbuild.machines.session import Session
from compressbuild.machines.wire import Ended, Entry, Said, Wire
from compressbuild.registry import discover

Make = Callable[..., WorkRequest]


class Silent:
    """A session whose machine says only what a test has it say."""

    lost = None
    bundle = Bundle([])

    def handle(self, handler: object, over: object) -> None:
        self.handler = handler

    def send(self, message: object, *files: object) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("path", ["../escaped", "/tmp/escaped", "a/../../escaped", "", "a//b", "./a", "a\0b"])
def test_names_that_lead_elsewhere(tmp_path: Path, request_of: Make, path: str) -> None:
    session = Silent()
    away = Away("evil", lambda: session)  # type: ignore[arg-type,return-value]
    away.start(1, request_of(), preload=(), log=tmp_path / "log", timeout=None, memory=None)
    while not hasattr(session, "handler"):
        assert away.wait(0) == []
    message = Ended(1, WorkResult(ok=True), "ok", files=(Entry(path, "", 4), Entry("fine", "", 4)))
    session.handler(message, Wire(io.BytesIO(b"evilgood"), io.BytesIO()))  # type: ignore[operator]
    (end,) = away.wait(10)
    away.close()
    assert isinstance(end, Finished)
    assert (end.cause, end.result.ok) == ("unavailable", False)
    assert "unsafe path" in end.detail
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a", "log"]


@pytest.mark.parametrize("odd", ["fifo", "link", "second name", "directory"])
def test_what_lies_in_the_place_of_a_log(tmp_path: Path, request_of: Make, odd: str) -> None:
    """A pipe is not waited for, no file behind a name is written to; the machine's words are in a log of its own."""
    (precious := tmp_path / "precious").write_text("somebody's")
    log = tmp_path / "log"
    {
        "fifo": lambda: os.mkfifo(log),
        "link": lambda: log.symlink_to(precious),
        "second name": lambda: log.hardlink_to(precious),
        "directory": log.mkdir,
    }[odd]()
    session = Silent()
    away = Away("evil", lambda: session)  # type: ignore[arg-type,return-value]
    away.start(1, request_of(), preload=(), log=log, timeout=None, memory=None)
    while not hasattr(session, "handler"):
        assert away.wait(0) == []
    session.handler(Said(1, 5), Wire(io.BytesIO(b"hello"), io.BytesIO()))  # type: ignore[operator]
    assert log.read_text() == "hello"
    log.unlink()
    log.symlink_to(precious)  # now, while it runs
    session.handler(Said(1, 5), Wire(io.BytesIO(b"hello"), io.BytesIO()))  # type: ignore[operator]
    session.handler(Ended(1, WorkResult(ok=True), "ok"), Wire(io.BytesIO(), io.BytesIO()))  # type: ignore[operator]
    (end,) = away.wait(10)
    away.close()
    assert isinstance(end, Finished)
    assert end.cause == "ok", "what it said is lost, and no more"
    assert precious.read_text() == "somebody's"


def test_a_log_that_cannot_be_begun_fails_its_node(tmp_path: Path, request_of: Make) -> None:
    (tmp_path / "file").write_text("")
    away = Away("evil", lambda: Silent())  # type: ignore[arg-type,return-value]
    away.start(1, request_of(), preload=(), log=tmp_path / "file/log", timeout=None, memory=None)
    (end,) = away.wait(10)
    away.close()
    assert isinstance(end, Finished)
    assert (end.cause, end.detail[:25]) == ("unavailable", "its log cannot be written")


def test_a_link_in_the_output_is_not_followed(tmp_path: Path, request_of: Make) -> None:
    """A machine gives regular files alone, and each once."""
    session = Silent()
    away = Away("evil", lambda: session)  # type: ignore[arg-type,return-value]
    away.start(1, request_of(), preload=(), log=tmp_path / "log", timeout=None, memory=None)
    while not hasattr(session, "handler"):
        assert away.wait(0) == []
    message = Ended(1, WorkResult(ok=True), "ok", files=(Entry("a", "", 4), Entry("a", "", 4)))
    session.handler(message, Wire(io.BytesIO(b"evilgood"), io.BytesIO()))  # type: ignore[operator]
    (end,) = away.wait(10)
    away.close()
    assert isinstance(end, Finished)
    assert end.cause == "unavailable"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A home on a disk that the code fits on, and not much more."""
    place = tmp_path / "small"
    place.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(place)], capture_output=True)
    if tried.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_there(small_disk: Path, bundle: Bundle, tmp_path: Path, request_of: Make) -> None:
    """The node fails and says why. The session goes on with what fits."""
    session = Session(Nearby(small_disk), bundle, "auto")
    away = Away("nearby", lambda: session)
    big = tmp_path / "big"
    big.mkdir()
    (big / "weights").write_bytes(os.urandom(16 << 20))
    ends = []
    for token, inputs in enumerate(({"subject": WorkInput(path=str(big), kind="files")}, None)):
        request = request_of(**({"inputs": inputs} if inputs else {}))
        away.start(token, request, preload=(), log=tmp_path / "log", timeout=None, memory=None)
        while len(ends) <= token:
            ends += [each for each in away.wait(60) if isinstance(each, Finished)]
    away.close()
    assert ends[0].cause == "unavailable"
    assert "No space left on device" in ends[0].detail
    assert ends[1].cause == "ok", ends[1].detail


def test_a_node_that_reads_outside_the_project(tmp_path: Path, request_of: Make, session: Session) -> None:
    away = Away("nearby", lambda: session)
    (tmp_path / "secret").write_text("s")
    away.start(1, request_of(read_files=("../secret",)), preload=(), log=tmp_path / "log", timeout=None, memory=None)
    (end,) = away.wait(60)
    away.close()
    assert isinstance(end, Finished)
    assert end.cause == "unavailable"
    assert "it reads ../secret, outside the project" in end.detail


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nowhere://x", "no executor takes 'nowhere://' addresses"),
        ("user@edge?pyhton=x", "executor 'ssh' does not take 'user@edge?pyhton=x'"),
        ("user@edge", None),
        ("ssh://user@edge:22?python=/opt/p&directory=~/x", None),
    ],
)
def test_addresses(tmp_path: Path, address: str, says: str | None) -> None:
    wrong = Machines(discover(cache=None), tmp_path, "auto").problem(address)
    assert (wrong is None) if says is None else (wrong is not None and says in wrong[0])
