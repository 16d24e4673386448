"""A cache, a state or a published file that is not what it was: found out, made again, with the right bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Work
from toyproject import Toy


def truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """One bit, with size and mtime as before."""
    info = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def delete(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 0)


DAMAGES = [truncate, flip, delete, empty]
TEXT = """
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: a}
targets:
  a: {from: f, steps: [{toy.mix: {salt: 1}}]}
  b: {from: a, steps: [{toy.copy: {note: x}}], gates: {length: {max: 100}}}
  c: {from: a, steps: [{toy.mix: {others: [b], salt: 3}}]}
"""


def _objects(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "cas").rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_every_object(toy: Toy, damage: Callable[[Path], None]):
    toy.write("Compressfile", TEXT)
    toy.build()
    want = {name: toy.value(name) for name in "abc"}
    objects = _objects(toy.cache)
    assert len(objects) >= 8
    for path in objects:
        before = path.read_bytes()
        damage(path)
        report, _ = toy.build()
        assert report.exit_code == 0
        assert report.counts.get("built", 0), f"{path.name} was not missed"
        assert path.read_bytes() == before
        assert {name: toy.value(name) for name in "abc"} == want
        assert toy.build()[1] == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_every_record_and_state(toy: Toy, damage: Callable[[Path], None]):
    """Without a record its node runs again; without a state file things take longer. No more."""
    toy.write("Compressfile", TEXT)
    toy.build()
    want = {name: toy.value(name) for name in "abc"}
    files = [
        path
        for base in (toy.cache, toy.root / ".cbuild")
        for path in sorted(base.rglob("*"))
        if path.is_file() and "cas" not in path.parts and path.stat().st_size
    ]
    assert len(files) >= 8
    for path in files:
        if not path.exists() or path.name in ("version", "CACHEDIR.TAG"):
            continue
        damage(path)
        report, ran = toy.build()
        assert report.exit_code == 0, path
        assert len(ran) <= 1, path
        assert {name: toy.value(name) for name in "abc"} == want
        assert toy.build()[1] == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_every_published_file(toy: Toy, damage: Callable[[Path], None]):
    toy.write("Compressfile", TEXT)
    toy.build()
    for path in sorted((toy.root / "build").rglob("*")):
        if path.is_file():
            before = path.read_bytes()
            damage(path)
            report, ran = toy.build()
            assert (report.exit_code, ran) == (0, [])
            assert path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES[:3], ids=lambda f: f.__name__)
def test_command_after_damage(toys: Work, damage: Callable[[Path], None]):
    """The command itself, no-op state and all."""
    toys.write("Compressfile", TEXT)
    toys("all")
    before = toys.published()
    assert "nothing to do" in toys("all").out
    for path in _objects(toys.root / "cache")[::3]:
        damage(path)
        ran = toys("all")
        assert "nothing to do" not in ran.out
        assert toys.published() == before
        assert "nothing to do" in toys("all").out
    damage(toys.root / "build/b/value")
    toys("all")
    assert toys.published() == before


def test_real_artifacts(mini: Work):
    """Each of the artifacts that lead to the int8 model, in one go: all are made again."""
    before = mini.published()
    digests = {name: _object_of(mini, data) for name, data in before.items() if name.startswith(("onnx", "cpu-int8"))}
    for damage, path in zip((truncate, flip), digests.values(), strict=False):
        damage(path)
    assert mini("cache", "verify", "--no-repair", code=1).out.count("\n") >= 2
    ran = mini.json("all")
    assert {"onnx/export.onnx", "cpu-int8/onnxruntime"} == set(ran.started)
    assert mini.published() == before
    assert all(path.read_bytes() == before[name] for name, path in digests.items())
    assert mini.json("all").started == []


def _object_of(work: Work, data: bytes) -> Path:
    return next(path for path in _objects(work.root / "cache") if path.read_bytes() == data)
