"""A machine that a scheduler gives later: what it waits for is shown, and the wait ends with its build."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from nearby import Nearby, Pipes

from compressbuild.api import UserError, WorkRequest
from compressbuild.execute.away import Away
from compressbuild.machines import session as module
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.machines import Machines
from compressbuild.machines.session import Session, Unreachable
from compressbuild.registry import discover


class Later(Pipes):
    """A link that waits for what its list says, one look after another; the last it says for as long as it is asked."""

    says: list[str | Exception | None] = []
    closed = 0

    def waiting(self) -> str | None:
        found = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        self.closed += 1
        super().close()


class Queue(Nearby):
    def __init__(self, home: Path, *says: str | BaseException | None) -> None:
        super().__init__(home)
        self.says = list(says)

    def start(self, program: str) -> Later:
        link = Later(program, self.home, self.python, self.before)
        link.says = self.says  # type: ignore[assignment]
        self.links.append(link)
        return link


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.001)


def test_what_it_waits_for(device: Nearby, bundle: Bundle) -> None:
    """Each reason once; then that it is ready, and it works."""
    heard: list[str] = []
    queue = Queue(device.home, "job 1 (Priority)", "job 1 (Priority)", "job 1 (Resources)", None)
    session = Session(queue, bundle, "auto", on_wait=heard.append)
    assert heard == ["job 1 (Priority)", "job 1 (Resources)", ""]
    assert session.ready.host
    session.close()


def test_one_that_is_there_at_once(device: Nearby, bundle: Bundle) -> None:
    heard: list[str] = []
    Session(Queue(device.home, None), bundle, "auto", on_wait=heard.append).close()
    assert heard == []


def test_the_queue_costs_no_time_of_the_start(device: Nearby, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on what follows counts from when the program runs."""
    events: list[str] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            events.append("the clock starts")
            super().start()

    monkeypatch.setattr(module, "Timer", Timer)
    Session(Queue(device.home, "waits", None), bundle, "auto", on_wait=events.append).close()
    assert events == ["waits", "", "the clock starts"]


@pytest.mark.parametrize(
    ("end", "raises"),
    [
        (UserError("no such partition", hint="'sinfo -s' lists them"), Unreachable),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (RuntimeError("a bug of the plugin"), RuntimeError),
    ],
)
def test_a_wait_that_ends_otherwise(
    device: Nearby, bundle: Bundle, end: BaseException, raises: type[BaseException]
) -> None:
    """The link is closed, whatever it was."""
    queue = Queue(device.home, "waits", end)
    with pytest.raises(raises) as raised:
        Session(queue, bundle, "auto")
    if isinstance(raised.value, Unreachable):
        assert (str(raised.value), raised.value.hint) == (
            "cannot be reached: no such partition",
            "'sinfo -s' lists them",
        )
    (link,) = queue.links
    assert isinstance(link, Later)
    assert link.closed


def test_a_build_that_ends_waits_no_more(
    device: Nearby, bundle: Bundle, tmp_path: Path, request_of: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its executor is closed while a machine is waited for, and another machine is reached meanwhile."""
    machines = Machines(discover(cache=None), tmp_path, "auto")
    monkeypatch.setattr(machines, "_bundle", bundle)
    queue, there = Queue(device.home, "waits"), Nearby(device.home)
    monkeypatch.setattr(machines, "machine", lambda address: queue if address == "ssh://full" else there)
    waits = threading.Event()
    machines.on_wait = lambda address, text: waits.set()
    away = Away("ssh://full", lambda: machines.session("ssh://full"), machines.give_up)
    assert callable(request_of)
    request: WorkRequest = request_of()
    away.start(1, request, preload=(), log=tmp_path / "log", timeout=None, memory=None)
    assert waits.wait(30)
    assert machines.session("ssh://free").ready.host
    away.close()
    assert not away._thread.is_alive()
    (link,) = queue.links
    assert isinstance(link, Later)
    assert link.closed
    with contextlib.closing(machines):
        assert machines.session("ssh://free").ready.host, "give_up ends only what waits"
