"""Targets that are complete together are published together: all are on the disk before the first is in its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_publish import MADE_OF, artifact, held, seal
from toyproject import Toy

from compressbuild.build import run
from compressbuild.digest import StatCache
from compressbuild.errors import CbuildError
from compressbuild.execute import group
from compressbuild.publish import Publisher, Staged
from compressbuild.store import FileSystem, Store

WIDE = "version: 1\nmodels: {f: {file: f.txt}}\ntargets:\n" + "".join(
    f"  t{i}: {{from: f, steps: [{{toy.mix: {{salt: {i}, modulus: 100003}}}}]}}\n" for i in range(12)
)


class Watched(FileSystem):
    """Notes what is synced, from when ``notes`` is emptied."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def sync_file(self, path: str) -> None:
        self.notes.append(path)

    def sync_dir(self, path: str) -> None:
        self.notes.append(path)

    def sync_all(self, path: str) -> bool:
        self.notes.append("all")
        return True


@pytest.fixture
def fs() -> Watched:
    return Watched()


@pytest.fixture
def publisher(tmp_path: Path, fs: Watched, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    store = Store(tmp_path / "cache", fs=fs)
    rename = os.rename

    def noted(source: str | Path, path: str | Path) -> None:
        rename(source, path)
        fs.notes.append(f"-> {path}")

    monkeypatch.setattr(os, "rename", noted)
    return Publisher(tmp_path / "build", store, StatCache(tmp_path / "stat", tmp_path))


def staged(publisher: Publisher, tmp_path: Path, count: int) -> list[Staged]:
    store = publisher._store
    made = [artifact(store, tmp_path, {"model": f"m{i}", "parts/one": "1"}) for i in range(count)]
    found = [publisher.stage(f"t{i}", digest, {"metrics.json": b"{}"}, MADE_OF, seal) for i, digest in enumerate(made)]
    return [each for each in found if each is not None]


def test_all_is_synced_before_the_first_moves_and_names_after_the_last(
    publisher: Publisher, fs: Watched, tmp_path: Path
) -> None:
    several = staged(publisher, tmp_path, 3)
    fs.notes.clear()
    publisher.place(several)
    moves = [at for at, note in enumerate(fs.notes) if note.startswith("->")]
    assert [fs.notes[at] for at in moves] == [f"-> {publisher.path(f't{i}')}" for i in range(3)]
    want = {
        str(d / n) for _, d in several for n in ("", "model", "parts", "parts/one", "metrics.json", "provenance.json")
    }
    assert set(fs.notes[: moves[0]]) == want
    assert fs.notes[moves[-1] + 1 :] == [str(publisher.root)]
    assert len(fs.notes) == len(want) + 4


def test_many_take_one_sync_and_that_of_their_names(publisher: Publisher, fs: Watched, tmp_path: Path) -> None:
    many = staged(publisher, tmp_path, 20)
    fs.notes.clear()
    publisher.place(many)
    assert [note for note in fs.notes if not note.startswith("->")] == ["all", str(publisher.root)]
    assert fs.notes[0] == "all"
    assert held(publisher.path("t19"))["model"] == "m19"


def test_what_cannot_be_synced_is_not_put_in_place(
    publisher: Publisher, fs: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = staged(publisher, tmp_path, 5)

    def fails(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(fs, "sync_dir", fails)
    with pytest.raises(CbuildError, match=r"targets 't0', 't1', 't2' and 2 more cannot be published in .*build: Input"):
        publisher.place(several)
    assert not any(publisher.path(f"t{i}").exists() for i in range(5))


def test_a_build_in_a_hurry_publishes_in_groups(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was judged before an interrupt is published."""
    monkeypatch.setattr(group, "_HURRY", 60.0)
    monkeypatch.setattr(group, "_PATIENCE", 60.0)
    placed: list[int] = []
    place, settle = Publisher.place, run.Build._settle

    def counted(publisher: Publisher, several: Sequence[Staged]) -> None:
        placed.append(len(several))
        place(publisher, several)

    def interrupted(build: run.Build, name: str) -> object:
        if name == "t5":
            raise KeyboardInterrupt
        return settle(build, name)

    monkeypatch.setattr(Publisher, "place", counted)
    toy.write("f.txt", "abc")
    toy.write("Compressfile", WIDE)
    with monkeypatch.context() as patch:
        patch.setattr(run.Build, "_settle", interrupted)
        with pytest.raises(BaseException, match="interrupted"):
            toy.build()
    published = {name for name in os.listdir(toy.root / "build") if not name.startswith(".")}
    assert "t5" not in published
    assert len(published) == sum(placed)
    placed.clear()
    assert toy.build()[0].exit_code == 0
    assert sorted(placed)[-1] == 12 - len(published)
    assert sorted(os.listdir(toy.root / "build")) == sorted(f"t{i}" for i in range(12))
