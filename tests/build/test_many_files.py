"""What changed among many files is found by several processes as by one."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild import noop
from compressbuild.build.state import kept


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, kept.Signature]:
    """Of the last build; a few are absent. More processes than cores would look at them."""
    monkeypatch.setattr(noop, "_SHARE", 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    names = [f"f{number}" for number in range(950)] + [str(tmp_path / f"g{number}") for number in range(50)]
    for name in names[:-5]:
        (tmp_path / name).write_text(name)
    return {name: noop.signature(os.path.join(tmp_path, name)) for name in names}


def edit(root: Path, names: list[str]) -> set[str]:
    rng = random.Random(5)
    chosen = rng.sample(names, k=40)
    for name in chosen[:30]:
        (root / name).write_text("other")
    for name in chosen[30:]:
        (root / name).unlink()
    (root / "g49").write_text("new")
    return {*chosen, str(root / "g49")}


def test_they_find_what_was_edited_removed_and_made(tmp_path: Path, files: dict[str, kept.Signature]) -> None:
    assert kept.changed(f"{tmp_path}/", files) == {}
    edited = edit(tmp_path, list(files)[:-5])
    found = kept.changed(f"{tmp_path}/", files)
    assert found == {name: noop.signature(os.path.join(tmp_path, name)) for name in edited}


def test_what_one_of_them_does_not_answer_is_looked_at_here(
    tmp_path: Path, files: dict[str, kept.Signature], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, here = kept._changed, os.getpid()
    monkeypatch.setattr(kept, "_changed", lambda *given: plain(*given) if os.getpid() == here else os._exit(1))
    edited = edit(tmp_path, list(files)[:-5])
    assert kept.changed(f"{tmp_path}/", files).keys() == edited


def test_without_a_process_to_be_had_it_is_done_here(
    tmp_path: Path, files: dict[str, kept.Signature], monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = iter((True, False))

    def fork(plain: Callable[[], int] = os.fork) -> int:
        if not next(forks, False):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return plain()

    monkeypatch.setattr(os, "fork", fork)
    before = os.listdir("/proc/self/fd")
    edited = edit(tmp_path, list(files)[:-5])
    assert kept.changed(f"{tmp_path}/", files).keys() == edited
    assert len(os.listdir("/proc/self/fd")) == len(before)
