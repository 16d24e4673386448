from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nearby import Nearby

from compressbuild.api import WorkInput, WorkRequest
from compressbuild.execute.away import Away
from compressbuild.execute.executor import Finished
from compressbuild.machines.bundle import Bundle
from compressbuild.machines.session import Session


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return Bundle(["compressbuild"])


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Nearby:
    return Nearby(tmp_path_factory.mktemp("home"))


@pytest.fixture
def session(device: Nearby, bundle: Bundle) -> Iterator[Session]:
    found = Session(device, bundle, "auto")
    yield found
    found.close()


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., WorkRequest]:
    """A request that copies a directory with one file, with these fields."""
    for name in ("subject", "project", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "subject/a").write_text("text")

    def make(**fields: Any) -> WorkRequest:
        given: dict[str, Any] = {
            "label": "t/copied",
            "run": "compressbuild.agent.trial:copied",
            "params": {},
            "inputs": {"subject": WorkInput(path=str(tmp_path / "subject"), kind="files")},
            "out": str(tmp_path / "out"),
            "scratch": str(tmp_path / "scratch"),
            "root": str(tmp_path / "project"),
        }
        return WorkRequest(**(given | fields))

    return make


@pytest.fixture
def run(session: Session, tmp_path: Path) -> Iterator[Callable[[WorkRequest], Finished]]:
    away = Away("nearby", lambda: session)

    def one(request: WorkRequest) -> Finished:
        away.start(1, request, preload=(), log=tmp_path / "log", timeout=None, memory=None)
        while True:
            for happening in away.wait(60):
                if isinstance(happening, Finished):
                    return happening

    yield one
    away.close()
