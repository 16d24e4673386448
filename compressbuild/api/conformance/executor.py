"""What a way to other machines owes: a whole stream, an end on both sides, and nodes that come out as they do here."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer
from typing import Any, ClassVar

import pytest

from ...digest import file_digest
from ...execute.away import Away
from ...execute.executor import Finished, Happening, Progress
from ...execute.procfs import children, descendants
from ...machines.machines import Machines
from ...machines.session import Unreachable
from ..executor import Link, Machine, QueuedLink
from ..work import WorkExpect, WorkInput, WorkRequest, WorkSight
from .plugin import manifest_imports, plugin_of, record, registry

__all__ = ["ExecutorContract"]

_SECONDS = 60.0
_ECHO = """
import os
while data := os.read(0, 65536):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]
"""
_LASTING = """
import os, sys, time
os.write(1, b"%d\\n" % os.getpid())
while os.read(0, 1):
    pass
"""
_STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"here\\n")
time.sleep(60)
"""
_LOOK = """
import os, sys
try:
    os.kill(PID, 0)
    os.write(1, b"there\\n")
except ProcessLookupError:
    os.write(1, b"gone\\n")
"""


class ExecutorContract:
    """A subclass names the record and an address that tests can reach, with all options that it takes there.

    ``unreachable``: an address of its form where nothing answers; empty: none can be had. ``patience``: seconds until a
    program that was started there runs.
    """

    executor: ClassVar[str] = ""
    unreachable: ClassVar[str] = ""
    patience: ClassVar[float] = _SECONDS

    def address(self) -> str:
        """As a Compressfile writes it. Abstract: a test makes or knows a machine."""
        raise NotImplementedError(f"{type(self).__name__} must have a method address(self) -> str")

    # -- the record --------------------------------------------------------------------------------------------------

    def test_manifest_is_cheap(self) -> None:
        found = manifest_imports(plugin_of("executor", self.executor).module)
        assert not found, f"the manifest imports {', '.join(found)}: every command imports all manifests"

    def test_the_address_is_its_own(self, tmp_path: Path) -> None:
        machines = Machines(registry(), tmp_path, "auto")
        assert machines.problem(self.address()) is None
        assert machines.executor(self.address()) == record("executor", self.executor), "another executor takes it"

    # -- the stream --------------------------------------------------------------------------------------------------

    def machine(self, tmp_path: Path) -> Machine:
        return Machines(registry(), tmp_path, "auto").machine(self.address())

    @contextmanager
    def started(self, machine: Machine, program: str) -> Iterator[Link]:
        """A link to a program that runs."""
        link = machine.start(program)
        watchdog = Timer(_SECONDS + self.patience, link.close)  # a link that hangs fails its test
        watchdog.daemon = True
        watchdog.start()
        try:
            if isinstance(link, QueuedLink):
                deadline = time.monotonic() + self.patience
                while (what := link.waiting()) is not None:
                    assert time.monotonic() < deadline, f"after {self.patience:.0f} s it still waits: {what}"
                    time.sleep(0.05)
            yield link
        finally:
            watchdog.cancel()
            link.close()

    def test_the_stream_is_whole(self, tmp_path: Path) -> None:
        """Every byte there and back, in blocks of any size."""
        sent = bytes(range(256)) * 2048
        with self.started(self.machine(tmp_path), _ECHO) as link:
            back = b""
            for at in range(0, len(sent), 50_021):
                block = sent[at : at + 50_021]
                view = memoryview(block)
                while view:
                    view = view[link.stdin.write(view) or 0 :]
                while len(back) < at + len(block):
                    more = link.stdout.read(65536)
                    assert more, f"the stream ended after {len(back)} bytes: {link.fault()}"
                    back += more
        assert back == sent, "the stream changes bytes: is there a terminal between?"

    def test_closing_ends_the_program(self, tmp_path: Path) -> None:
        """Its standard input ends, and soon it is gone."""
        machine = self.machine(tmp_path)
        with self.started(machine, _LASTING) as link:
            pid = int(_line(link))
        deadline = time.monotonic() + _SECONDS + self.patience
        while True:
            with self.started(machine, _LOOK.replace("PID", str(pid))) as link:
                if _line(link) == "gone":
                    return
            assert time.monotonic() < deadline, "the program still runs after its link was closed"
            time.sleep(0.2)

    def test_closing_leaves_no_process_here(self, tmp_path: Path) -> None:
        """Also if the program stays when its input has ended; and twice is harmless."""
        machine, others = self.machine(tmp_path), set(children(os.getpid()))
        with self.started(machine, _STUBBORN) as link:
            assert _line(link) == "here"
            own = [pid for top in set(children(os.getpid())) - others for pid in (top, *descendants(top))]
            link.close()
            deadline = time.monotonic() + _SECONDS / 4
            while left := [pid for pid in own if os.path.exists(f"/proc/{pid}")]:
                assert time.monotonic() < deadline, f"processes {left} are left after the link was closed"
                time.sleep(0.1)

    def test_an_end_is_seen(self, tmp_path: Path) -> None:
        """A program that fails ends the stream, and what it said last is known, however much it said before."""
        program = textwrap.dedent("""
            import sys
            for _ in range(4000):
                print("x" * 99, file=sys.stderr)
            sys.exit("it went wrong")
        """)
        with self.started(self.machine(tmp_path), program) as link:
            assert link.stdout.read(1) == b""
            assert "it went wrong" in link.fault(), f"'fault' says '{link.fault()}', not what the program said last"

    def test_nothing_answers(self, tmp_path: Path) -> None:
        if not self.unreachable:
            pytest.skip("there is no unreachable address of its form")
        machines = Machines(registry(), tmp_path, "auto")
        began = time.monotonic()
        with closing(machines), pytest.raises(Unreachable) as raised:
            machines.session(self.unreachable)
        assert time.monotonic() - began < _SECONDS
        assert "\n" not in str(raised.value)

    # -- nodes -------------------------------------------------------------------------------------------------------

    def test_a_node_comes_out_as_here(self, tmp_path: Path) -> None:
        """Equal bytes, names and modes; its progress and log arrive."""
        machines = Machines(registry(), tmp_path / "state", "auto")
        with closing(machines), closing(Away("the machine", lambda: machines.session(self.address()))) as away:
            request = _request(tmp_path)
            log = tmp_path / "log"
            happened = _run(away, request, log)
            end = happened[-1]
            assert isinstance(end, Finished)
            assert end.cause == "ok", end.detail
            assert end.result.facts == {"seed": 3, "given": {"a": [1, None, "ü"]}}
            assert any(isinstance(each, Progress) for each in happened)
            assert "a line of the log" in log.read_text()
            assert _contents(Path(request.out)) == _contents(Path(request.inputs["subject"].path))

    def test_only_what_it_was_planned_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A node whose key says what its machine is runs there; one that was planned for another machine, or for what
        this one was before, is refused with the difference, and nothing of it runs."""
        machines = Machines(registry(), tmp_path / "state", "auto")
        with closing(machines), closing(Away("the machine", lambda: machines.session(self.address()))) as away:
            session = machines.session(self.address())
            code = session.bundle.files["compressbuild/agent/trial.py"]
            edited: set[str] = set()
            digest = Away._digest
            monkeypatch.setattr(
                Away, "_digest", lambda self, path: "0" * 64 if path in edited else digest(self, path)
            )  # as if it were edited after it was sent
            ready = session.ready
            tool, version = next(iter(sorted(ready.versions.items())))
            facts = {name: ready.facts[name] for name in ("cpu.model", "cpu.isa")} | {"host": ready.host}
            for number, (field, expected, says) in enumerate(
                [
                    ("", {}, ""),
                    ("facts", facts | {"cpu.model": "another"}, "cpu.model is "),
                    ("facts", facts | {"cpu.isa": ["none"]}, "cpu.isa is "),
                    ("facts", facts | {"host": "0123456789abcdef"}, "host is "),
                    ("tools", {tool: f"{version}.1"}, f"{tool} is "),
                    ("tools", {"no-such-distribution": "1"}, "no-such-distribution is not installed there, not 1"),
                    ("python", "2.7", "Python is "),
                    ("plugin_code", {}, "compressbuild/agent/trial.py is other code there than the key covers"),
                ]
            ):
                if field == "plugin_code":
                    edited.add(code)
                given: dict[str, Any] = {"facts": facts, "tools": {tool: version}, "python": ready.python} | (
                    {field: expected} if field else {}
                )
                request = _request(tmp_path / str(number), expect=WorkExpect(**given), sight=WorkSight(files=(code,)))
                end = _run(away, request, tmp_path / "log")[-1]
                assert isinstance(end, Finished)
                if not field:
                    assert end.cause == "ok", f"it is refused as it is: {end.detail}"
                    continue
                assert end.cause == "unavailable", f"it ran, though {field} is not what it was planned for"
                assert "the machine is not what it was planned for" in end.detail
                assert says in end.detail
                assert not any(Path(request.out).iterdir()), "it left something"


def _run(away: Away, request: WorkRequest, log: Path) -> list[Happening]:
    """All that happens; its end is last."""
    away.start(7, request, preload=(), log=log, timeout=_SECONDS, memory=None)
    happened: list[Happening] = []
    while not any(isinstance(each, Finished) for each in happened):
        happened += away.wait(_SECONDS)
    return happened


def _request(place: Path, **fields: Any) -> WorkRequest:
    """A node whose input has all that an artifact may have."""
    subject, project, out = place / "subject", place / "project", place / "out"
    (subject / "deep/er").mkdir(parents=True)
    (subject / "empty").mkdir()
    (subject / "deep/er/ü ' name").write_bytes(bytes(range(256)) * 5000)
    (subject / "nothing").write_bytes(b"")
    (subject / "run").write_bytes(b"#!/bin/sh\n")
    (subject / "run").chmod(0o755)
    project.mkdir()
    out.mkdir()
    return WorkRequest(
        label="a trial",
        run="compressbuild.agent.trial:copied",
        params={"a": [1, None, "ü"]},
        inputs={"subject": WorkInput(path=str(subject), kind="files")},
        out=str(out),
        scratch=str(place / "scratch"),
        root=str(project),
        seed=3,
        **fields,
    )


def _contents(place: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(place)): (file_digest(path), bool(path.stat().st_mode & 0o100)) if path.is_file() else None
        for path in place.rglob("*")
    }


def _line(link: Link) -> str:
    text = b""
    while not text.endswith(b"\n"):
        char = link.stdout.read(1)
        assert char, f"the program ended: {link.fault()}"
        text += char
    return text.decode().strip()
