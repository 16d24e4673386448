"""Files that cannot be sent end their node, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from compressbuild.api import WorkRequest
from compressbuild.execute import away as module
from compressbuild.execute.away import Away
from compressbuild.execute.executor import Finished
from compressbuild.machines.session import Session


@pytest.mark.parametrize("fault", ["gone", "unknown"])
def test_a_file_that_cannot_be_sent(
    session: Session,
    tmp_path: Path,
    request_of: Callable[..., WorkRequest],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """It is gone once the machine asks for it, or the machine asks for another."""
    plain = module.packed

    def packed(*arguments: object) -> object:
        found = plain(*arguments)  # type: ignore[arg-type]
        wrong = {digest: str(tmp_path / "gone") for digest in found.sources} if fault == "gone" else {}
        return replace(found, sources=wrong)

    request = request_of()
    (tmp_path / "subject/a").write_text(f"new to the machine: {fault}")
    away = Away("nearby", lambda: session)
    monkeypatch.setattr(module, "packed", packed)
    away.start(1, request, preload=(), log=tmp_path / "log", timeout=None, memory=None)
    ends = [each for each in away.wait(60) if isinstance(each, Finished)]
    assert [end.cause for end in ends] == ["unavailable"]
    assert "cannot be sent" in ends[0].detail
    monkeypatch.setattr(module, "packed", plain)
    away.start(2, request, preload=(), log=tmp_path / "log", timeout=None, memory=None)
    while not (ends := [each for each in away.wait(60) if isinstance(each, Finished)]):
        pass
    away.close()
    assert (ends[0].token, ends[0].cause) == (2, "ok")
