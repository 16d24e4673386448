"""A machine, or an engine, that falls silent without a word is taken for gone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from nearby import Nearby

from compressbuild.machines import session as module
from compressbuild.machines import wire
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.session import Session


def test_a_machine_that_is_stopped(device: Nearby, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PULSE", 0.1)
    monkeypatch.setattr(module, "SILENCE", 1.0)
    session = Session(device, bundle, "auto")
    time.sleep(1.5)
    assert session.lost is None, "its answers keep it alive"
    heard: list[str] = []
    session.handle(lambda message, wire: None, heard.append)
    pid = device.links[-1].process.pid
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20
    while not heard:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert session.lost is not None
    session.close()


@pytest.mark.slow
def test_an_engine_that_says_nothing_more(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a laptop is closed: the agent ends by itself, though its stream stays open."""
    monkeypatch.setattr(module, "PULSE", 1e6)
    device = Nearby(tmp_path)
    session = Session(device, bundle, "auto")
    process = device.links[-1].process
    began = time.monotonic()
    process.wait(wire.SILENCE + 30)
    assert time.monotonic() - began > wire.SILENCE / 2
    session.close()
