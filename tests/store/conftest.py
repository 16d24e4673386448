from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from compressbuild import digest as digest_module
from compressbuild.digest import digest_value
from compressbuild.store import ActionResult, Store

Files = Mapping[str, bytes]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(cache: Path) -> Iterator[Store]:
    with Store(cache, sync=False) as opened:
        yield opened


@pytest.fixture
def fine_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every object were older than the clock's granularity when it was hashed."""
    monkeypatch.setattr(digest_module, "CLOCK_GRANULARITY_NS", -(10**9))


@pytest.fixture
def commit(tmp_path: Path) -> Callable[..., ActionResult]:
    """``commit(store, name, {path: bytes})``: an action of that name with that output."""

    def _commit(store: Store, name: object, files: Files, *, consume: bool = True) -> ActionResult:
        directory = store.scratch()
        for path, data in files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return store.commit(
            directory,
            key=digest_value(name),
            kind="onnx",
            label=str(name),
            seconds=1.5,
            peak_rss=1 << 20,
            facts={"nodes": 3},
            consume=consume,
        )

    return _commit


@pytest.fixture
def read() -> Callable[[Path], dict[str, bytes]]:
    """A directory's files, as ``commit`` takes them."""

    def _read(directory: Path) -> dict[str, bytes]:
        return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}

    return _read
