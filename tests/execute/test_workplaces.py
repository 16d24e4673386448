"""A directory in which a node worked serves the next one only if nothing tells them apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from toyproject import Toy

from compressbuild.execute.run import Workplaces
from compressbuild.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", sync=False)


def worked(base: Path, out: Path, scratch: Path) -> None:
    """What a node and the store do to it: the output is moved away."""
    (scratch / "part").write_text("x")
    (scratch / "part").unlink()
    out.chmod(0o700)
    out.rmdir()


def test_what_is_left_as_it_was_serves_again(store: Store) -> None:
    places = Workplaces(store)
    first = places.take()
    worked(*first)
    places.leave(first[0])
    again = places.take()
    assert again == first
    assert os.listdir(again[0]) == ["scratch", "out"] or sorted(os.listdir(again[0])) == ["out", "scratch"]
    assert not os.listdir(again[1])
    assert not os.listdir(again[2])
    assert again[1].stat().st_mode == again[2].stat().st_mode, "the output is a new directory"
    assert places.take()[0] != again[0], "nobody else has it"
    assert again[1].is_dir(), "nor does anybody take it away"


def _linked(base: Path) -> None:
    (base / "scratch").rmdir()
    (base / "scratch").symlink_to("/usr")


LEFT: dict[str, Callable[[Path], object]] = {
    "a file": lambda base: (base / "scratch" / "x").write_text("x"),
    "a directory": lambda base: (base / "scratch" / ".x").mkdir(),
    "beside it": lambda base: (base / "x").write_text("x"),
    "an output": lambda base: (base / "out").mkdir(),
    "rights": lambda base: (base / "scratch").chmod(0o777),
    "sticky": lambda base: (base / "scratch").chmod(0o1755),
    "rights of the base": lambda base: base.chmod(0o777),
    "no scratch": lambda base: (base / "scratch").rmdir(),
    "a link": _linked,
    "an attribute": lambda base: os.setxattr(base / "scratch", "user.note", b"x"),
    "an attribute of the base": lambda base: os.setxattr(base, "user.note", b"x"),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_is_not_is_removed(store: Store, what: str) -> None:
    places = Workplaces(store)
    base, out, scratch = places.take()
    worked(base, out, scratch)
    try:
        LEFT[what](base)
    except OSError as error:
        pytest.skip(f"this file system has no such attributes: {error}")
    places.leave(base)
    assert not base.exists()
    assert places.take()[0] != base


def test_one_of_a_failed_node_does_not_serve_again(store: Store) -> None:
    places = Workplaces(store)
    base, out, scratch = places.take()
    worked(base, out, scratch)
    places.remove(base)
    assert not base.exists()
    assert places.take()[0] != base


@pytest.mark.parametrize("gone", ["", "scratch"])
def test_one_that_somebody_removed_meanwhile_is_made_again(store: Store, gone: str) -> None:
    places = Workplaces(store)
    base, out, scratch = places.take()
    worked(base, out, scratch)
    places.leave(base)
    scratch.rmdir()
    if not gone:
        base.rmdir()
    _, new, empty = places.take()
    assert not os.listdir(new)
    assert not os.listdir(empty)


def test_the_vacant_are_removed_at_the_end(store: Store) -> None:
    places = Workplaces(store)
    taken = [places.take() for _ in range(3)]
    for each in taken:
        worked(*each)
        places.leave(each[0])
    places.close()
    assert not store.dir.own_temporaries()


def test_a_build_makes_as_many_as_it_uses_at_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    scratch = Store.scratch

    def counted(store: Store) -> Path:
        made.append(scratch(store))
        return made[-1]

    monkeypatch.setattr(Store, "scratch", counted)
    toy.write("f.txt", "abc")
    steps = ", ".join(f"{{toy.mix: {{salt: {i}, modulus: 1009}}}}" for i in range(12))
    toy.write(
        "Compressfile", f"version: 1\nmodels: {{f: {{file: f.txt}}}}\ntargets:\n  t: {{from: f, steps: [{steps}]}}\n"
    )
    report, ran = toy.build()
    assert (report.exit_code, len(ran)) == (0, 12)
    assert len(made) <= 3, "one of inputs, and one for each of two slots"
    assert not any(path.exists() for path in made)
