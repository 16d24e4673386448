"""Opens a dataset as a worker does, without a build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from compressbuild.api import Context, Rows, WorkDataset, WorkRequest
from compressbuild.registry import discover

REGISTRY = discover(cache=None)


def opened(root: Path, source: str, rows: Rows | None = None, **keys: Any) -> list[tuple[Any, np.ndarray]]:
    """The batches of an entry ``{SOURCE: …}`` of a Compressfile in ``root``."""
    found = dataset(root, source, rows, **keys)
    batches = list(found)
    assert len(found) == len(batches)
    return batches


def dataset(root: Path, source: str, rows: Rows | None = None, **keys: Any) -> Any:
    """What the source of such an entry returns."""
    record = REGISTRY.source(source)
    named = {name.replace("_", "-"): value for name, value in keys.items()}
    msgspec.convert(named, record.params)
    entry = WorkDataset(
        loader=record.run,
        args=named,
        params_type=f"{record.params.__module__}:{record.params.__qualname__}",
        rows=rows or Rows(),
    )
    for name in ("out", "scratch"):
        (root / f".{name}").mkdir(exist_ok=True)
    request = WorkRequest(
        label="t/x",
        run="x:y",
        params={},
        out=str(root / ".out"),
        scratch=str(root / ".scratch"),
        root=str(root),
        datasets={"d": entry},
    )
    return Context(request, lambda _: None).dataset("d")


def whole(batches: list[tuple[Any, np.ndarray]]) -> tuple[Any, np.ndarray]:
    """All rows in one piece."""
    inputs = [each for each, _ in batches]
    labels = np.concatenate([each for _, each in batches])
    if isinstance(inputs[0], dict):
        return {name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]}, labels
    return np.concatenate(inputs), labels
