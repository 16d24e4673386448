"""Entries that name a plugin's source: read, checked, split, and covered by keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressbuild.api import Rows
from compressbuild.errors import CompressfileError
from compressbuild.project import Project

TARGETS = """
models: {net: {file: model.onnx}}
evaluate: {data: DATA, metrics: [top1]}
targets: {a: {from: net, steps: [{quantize.dynamic: {}}]}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", x=np.zeros((10, 2), np.float32), y=np.zeros(10, np.int64))
    (tmp_path / "model.onnx").write_bytes(b"")
    return tmp_path


def opened(place: Path, entry: str, data: str = "d", *overrides: str) -> Project:
    (place / "Compressfile").write_text(f"version: 1\ndatasets:\n  d: {entry}\n" + TARGETS.replace("DATA", data))
    return Project(place / "Compressfile", overrides)


def complaint(place: Path, entry: str, data: str = "d") -> str:
    with pytest.raises(CompressfileError) as caught:
        _ = opened(place, entry, data).graph
    return "\n".join(f"{each.mark}: {each.message}; {each.hint}" for each in caught.value.diagnostics)


def key(project: Project, metric: str = "metrics.predict") -> dict[str, Any]:
    node = next(node for node in project.graph.nodes if node.name == metric)
    parts = project.keyer.parts(node, dict.fromkeys(node.inputs, "0"))
    assert project.keyer.problems == []
    return parts


def test_a_split_makes_parts_and_a_rest(place: Path) -> None:
    spec = opened(place, "{npz: data.npz, labels: y, split: {calibration: 0.2, more: 3}}").spec
    sizes = (0.2, 3)
    assert {name: data.rows for name, data in spec.datasets.items()} == {
        "d.calibration": Rows(sizes=sizes, part=0, seed=0),
        "d.more": Rows(sizes=sizes, part=1, seed=0),
        "d": Rows(sizes=sizes, seed=0),
    }
    slices = opened(place, "{npz: data.npz, split: {a: [0, 4], b: [4, 10]}}").spec.datasets
    assert slices["d.b"].rows == Rows(slices=((0, 4), (4, 10)), part=1)
    assert opened(place, "{npz: data.npz, split: {a: [0, 4], seed: 7}}").spec.datasets["d.a"].rows.seed == 7


def test_shares_of_all_leave_no_rest(place: Path) -> None:
    entry = "{npz: data.npz, split: {a: 0.5, b: 0.5}}"
    assert set(opened(place, entry, "d.a").spec.datasets) == {"d.a", "d.b"}
    assert "unknown dataset 'd'" in complaint(place, entry)
    assert "did you mean 'd." in complaint(place, entry, "dd.a")


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1001])
@pytest.mark.parametrize("sizes", [(0.2,), (0.5, 0.5), (0.1, 1), (1 / 3, 1 / 3, 1 / 3)])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_parts_share_no_row_and_lose_none(count: int, sizes: tuple[float, ...], seed: int | None) -> None:
    if count < len(sizes):
        with pytest.raises(ValueError, match=f"and there are {count}"):
            Rows(sizes=sizes, part=0, seed=seed).of(count)
        return
    parts = [Rows(sizes=sizes, part=part, seed=seed).of(count) for part in (*range(len(sizes)), None)]
    assert all(parts[: len(sizes)])
    assert sorted(row for part in parts for row in part) == list(range(count))
    assert seed is None or count < 100 or parts[-1] != sorted(parts[-1]) or not parts[-1]


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ("{npx: data.npz}", "unknown key 'npx' in dataset 'd'", "did you mean 'npz'?"),
        ("{npz: data.npz, csv: x.csv}", "has both a 'npz' and a 'csv'", "keep one"),
        ("{npz: data.npz, loader: a:b}", "has both a 'loader' and a 'npz'", "keep one"),
        ("{npz: data.npz, lables: y}", "has no parameter 'lables'", "did you mean 'labels'?"),
        ("{npz: 3}", "parameter 'npz': expected 'str', got 'int'", ""),
        ("{npz: data.npz, std: [0]}", "each number of 'std' must be above 0", ""),
        ("{npz: ../data.npz}", "'npz' leads outside the project: '../data.npz'", "outside: [..]"),
        ("{npz: data.npz, split: 0.2}", "'split' of dataset 'd' must be a mapping", "calibration: 0.2"),
        ("{npz: data.npz, split: {}}", "names no part", "calibration: 0.2"),
        ("{npz: data.npz, split: {a: 1.5}}", "part 'a' must be a share above 0", ""),
        ("{npz: data.npz, split: {a: [4, 2]}}", "not [4, 2]", ""),
        ("{npz: data.npz, split: {a: 0.7, b: 0.4}}", "are 1.1 of the rows", "at most 1.0"),
        ("{npz: data.npz, split: {a: [0, 5], b: [4, 9]}}", "parts 'a' and 'b' share rows 4 to 4", ""),
        ("{npz: data.npz, split: {a: 0.2, b: [4, 9]}}", "both sizes and slices", ""),
        ("{loader: a:b, split: {a: 0.2}}", "'split' goes with a source of rows", "args"),
        ("{csv: data.csv, inputs: {x: a}, text: b, tokenizer: t}", "give either 'text'", ""),
    ],
)
def test_what_is_wrong_is_located(place: Path, entry: str, message: str, hint: str) -> None:
    text = complaint(place, entry)
    assert "Compressfile:3:" in text
    assert message in text
    assert hint in text


def test_a_file_that_is_not_there(place: Path) -> None:
    project = opened(place, "{npz: none.npz, labels: y}")
    for node in project.graph.nodes:
        project.keyer.check(node)
    (problem,) = {each.message: each for each in project.keyer.problems}.values()
    assert str(problem.mark).endswith("Compressfile:3:12")
    assert problem.message == "there is no file 'none.npz'"


def test_the_key_covers_the_file_the_keys_and_the_rows(place: Path) -> None:
    entry = "{npz: data.npz, labels: y, split: {c: 0.2}}"
    first = key(opened(place, entry))
    assert "data.npz" in first["files"]
    assert any(name.startswith("cbuild_data.arrays.files:") for name in first["plugin code"])
    assert "numpy" in first["tools"]
    assert key(opened(place, entry.replace("c: 0.2", "other: 0.2"))) == first, "what a part is called does not matter"
    for other in (
        entry.replace("0.2", "0.3"),
        entry.replace("0.2", "0.2, seed: 1"),
        entry.replace("y,", "y, divide: 2,"),
    ):
        assert key(opened(place, other))["data"] != first["data"]
    assert key(opened(place, entry, "d.c"))["data"] != first["data"]
    np.savez(place / "data.npz", x=np.ones((10, 2), np.float32), y=np.zeros(10, np.int64))
    assert key(opened(place, entry))["files"] != first["files"]


def test_a_factory_of_a_library_counts_by_its_version(place: Path) -> None:
    (place / "Compressfile").write_text(
        "version: 1\nmodels: {net: {factory: torch.nn:Linear, args: {in_features: 4, out_features: 2}, "
        "inputs: {x: {shape: [batch, 4]}}}}\ntargets: {a: {from: net, steps: [fold.batchnorm]}}\n"
    )
    project = Project(place / "Compressfile")
    parts = key(project, "fold.batchnorm")
    assert parts["tools"]["torch"]
    assert "torch.nn:Linear" in parts["code"]


def test_a_source_that_needs_what_is_not_installed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "{parquet: data.parquet, inputs: {x: a}, labels: y}"
    project = opened(place, entry)
    real = project.registry.sources["parquet"]
    absent = real.stack.also(modules=("not_installed_anywhere",))
    sources = {**project.registry.sources, "parquet": type(real)(**{**_fields(real), "stack": absent})}
    monkeypatch.setitem(
        project.__dict__, "registry", type(project.registry)(**{**_fields(project.registry), "sources": sources})
    )
    node = next(node for node in project.graph.nodes if node.datasets)
    assert any("not_installed_anywhere" in lack.what for lack in node.missing)
    assert any("compressbuild[data]" in (lack.hint or "") for lack in node.missing)


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
