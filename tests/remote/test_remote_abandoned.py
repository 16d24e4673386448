"""A build that fails, or is interrupted, while results are on their way here: what becomes of them is not said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline import InlineExecutor
from toyproject import Toy

from compressbuild.api import WorkRequest
from compressbuild.project import connected
from compressbuild.remote.objects import ObjectStore

Checkout = Callable[..., Toy]
TEXT = """\
version: 1
models: {f: {toy-folder: model}}
targets:
  a: {from: f, steps: [toy.copy]}
  b: {from: f, steps: [{toy.mix: {salt: 1}}, {toy.copy: {note: n, fail: FAIL}}]}
"""
LONG = "x" * 100_000


class Slow:
    """Downloads wait until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.waiting = threading.Semaphore(0)
        plain = ObjectStore.download

        def download(store: ObjectStore, name: str, size: int, path: Path) -> bool:
            self.begun.set()
            self.waiting.release()
            assert self.go.wait(60)
            try:
                return plain(store, name, size, path)
            finally:
                self.ended.set()

        monkeypatch.setattr(ObjectStore, "download", download)


class Patient(InlineExecutor):
    """The step that fails begins when something is on its way."""

    def __init__(self, begun: threading.Event) -> None:
        super().__init__()
        self._begun = begun

    def start(self, token: int, request: WorkRequest, **rest: Any) -> None:
        if "note" in request.params:
            assert self._begun.wait(60), "nothing is on its way"
        super().start(token, request, **rest)


def machine(checkout: Checkout, name: str, *, writes: bool = False, fail: str = '""') -> Toy:
    toy = checkout(name, writes=writes, text=TEXT.replace("FAIL", fail))
    toy.write("model/text", LONG)
    toy.write("model/notes/note", "n")
    return toy


def test_a_build_that_fails_meanwhile(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert machine(checkout, "first", writes=True).build("all")[0].exit_code == 0
    slow = Slow(monkeypatch)
    second = machine(checkout, "second", fail="raise")
    report, _ = second.build("all", executor=Patient(slow.begun))
    assert report.exit_code == 1
    assert slow.begun.is_set()
    slow.go.set()
    assert slow.ended.wait(60)
    time.sleep(0.3)  # for what it would say
    assert "warning" not in capfd.readouterr().err


def test_what_was_abandoned_is_neither_damaged_nor_unreachable(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The next round of the same process (``cbuild watch``) fetches it."""
    assert machine(checkout, "first", writes=True).build("all")[0].exit_code == 0
    project = machine(checkout, "second").open()
    remote = connected(project)
    assert remote is not None
    plan = project.plan(["a"])
    results = [each.result for each in plan.actions.values() if each.result is not None]
    result = next(each for each in results if each.evicted and not each.imported)
    with pytest.MonkeyPatch.context() as patch:
        slow = Slow(patch)
        late, later = remote.fetch(result), remote.fetch(result)
        for _ in range(2):  # both have their scratch directories, which `tidy` removes
            assert slow.waiting.acquire(timeout=60)
        remote.abandon()
        project.store.tidy()
        slow.go.set()
        assert not late.result(60)
        assert not later.result(60)
    assert (remote.health.down, remote.reader.spoiled, remote.reader.bad) == (None, set(), set())
    assert remote.fetch(result).result(60)
    assert project.store.lookup(result.key) is not None
    project.close()
    assert "warning" not in capfd.readouterr().err
