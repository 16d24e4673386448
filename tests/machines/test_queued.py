"""A machine that a scheduler gives later: what it waits for is shown, and the wait ends with its build."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import lobby
import pytest
import toyproject
from elsewhere import Elsewhere
from lobby import Room
from nearby import Nearby

from compressbuild.api import WorkRequest
from compressbuild.errors import Incompatible
from compressbuild.execute.away import Away
from compressbuild.execute.events import MachineStatus
from compressbuild.machines import session as module
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.machines import Machines
from compressbuild.machines.session import Session, Unreachable
from compressbuild.registry import discover


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.001)
    monkeypatch.setattr(Room, "given", [])


def test_what_it_waits_for(device: Nearby, bundle: Bundle) -> None:
    """Each reason once; then that it is ready, and it works. The limit on the start counts from then."""
    heard: list[str] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            heard.append("the clock starts")
            super().start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Timer", Timer)
        session = Session(Room("busy", device.home), bundle, "auto", on_wait=heard.append)
    assert heard == ["job 7 is pending (Priority)", "job 7 is pending (Resources)", "", "the clock starts"]
    assert session.ready.host
    session.close()


@pytest.mark.parametrize("end", [KeyboardInterrupt(), RuntimeError("a bug of the plugin")])
def test_a_wait_that_ends_otherwise(device: Nearby, bundle: Bundle, end: BaseException) -> None:
    """The link is closed, whatever it was."""

    def heard(text: str) -> None:
        raise end

    with pytest.raises(type(end)):
        Session(Room("busy", device.home), bundle, "auto", on_wait=heard)
    assert [link.closed for link in Room.given] == [True]


def test_one_that_cannot_be_had(device: Nearby, bundle: Bundle) -> None:
    with pytest.raises(Unreachable) as raised:
        Session(Room("wrong", device.home), bundle, "auto")
    assert (str(raised.value), raised.value.hint) == ("cannot be reached: no such room", "'rooms' lists them")
    assert [link.closed for link in Room.given] == [True]


def test_a_build_that_ends_waits_no_more(
    device: Nearby, bundle: Bundle, tmp_path: Path, request_of: Callable[..., WorkRequest]
) -> None:
    """Its executor is closed while a machine is waited for, and another machine is reached meanwhile."""
    machines = Machines(discover(cache=None, extra=["lobby"]), tmp_path, "auto")
    machines._bundle = bundle
    full, free = (f"lobby://{name}?home={device.home}" for name in ("full", "free"))
    waits = threading.Event()
    machines.on_wait = lambda address, text: waits.set()
    away = Away(full, lambda: machines.session(full), machines.give_up)
    away.start(1, request_of(), preload=(), log=tmp_path / "log", timeout=None, memory=None)
    assert waits.wait(30)
    reached = threading.Event()
    other = threading.Thread(target=lambda: machines.session(free) and reached.set(), daemon=True)
    other.start()
    assert reached.wait(60), "it waits for the other machine"
    away.close()
    assert not away._thread.is_alive()
    assert [link.closed for link in Room.given] == [True, False]
    with contextlib.closing(machines):
        assert machines.session(free).ready.host, "only what waits is given up"


@pytest.fixture
def project(tmp_path: Path, device: Nearby, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """A toy project whose steps run in a room of the lobby."""
    found = discover(cache=None, extra=["toy", "lobby"])
    monkeypatch.setattr(toyproject, "_registry", lambda: found)
    monkeypatch.setenv("PYTHONPATH", str(Path(lobby.__file__).parent))
    return Elsewhere(tmp_path / "project", f"lobby://busy?home={device.home}")


def test_a_build_shows_what_it_waits_for(project: Elsewhere) -> None:
    """And asks for a machine only if something has to run there."""
    assert project.make().exit_code == 0
    assert [(e.status, e.detail) for e in project.seen if isinstance(e, MachineStatus)] == [
        ("waiting", "job 7 is pending (Priority)"),
        ("waiting", "job 7 is pending (Resources)"),
        ("ready", ""),
    ]
    assert "a/toy.mix" in project.ran
    given = len(Room.given)
    assert project.make().exit_code == 0
    assert (project.ran, len(Room.given)) == ([], given), "all is in the cache"
    project.make(check=True)
    assert len(Room.given) == given + 1
    project.text("{note: other}")
    project.make()
    assert (project.ran, len(Room.given)) == (["b/toy.copy"], given + 2)


def test_a_build_on_what_cannot_be_had(project: Elsewhere) -> None:
    project.address = project.address.replace("busy", "wrong")
    project.text()
    with pytest.raises(Incompatible) as raised:
        project.make("b")
    assert "cannot be reached: no such room" in str(raised.value)
    assert "'rooms' lists them" in str(raised.value.hint)
