"""Inputs on disk are written once, and every change to them is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.execute.inputs import Inputs
from compressbuild.execute.run import first_unmet
from compressbuild.store import Store


@pytest.fixture
def made(tmp_path: Path) -> tuple[Inputs, str]:
    out = tmp_path / "out"
    (out / "deep" / "er").mkdir(parents=True)
    (out / "value").write_text("1")
    (out / "deep" / "er" / "value").write_text("2")
    store = Store(tmp_path / "cache")
    return Inputs(store), store.cas.put_tree(out).digest


def _link(path: Path) -> None:
    path.chmod(0o755)
    (path / "more").symlink_to("deep")


def _touch(path: Path) -> None:
    (path / "deep" / "er" / "value").chmod(0o644)


def _remove(path: Path) -> None:
    (path / "deep" / "er" / "value").unlink()


def _add(path: Path) -> None:
    (path / "deep" / "new").write_text("3")


@pytest.mark.parametrize(
    ("change", "name"),
    [(_link, "more"), (_touch, "deep/er/value"), (_remove, "deep/er/value"), (_add, "deep/new")],
)
def test_a_change_is_named_and_the_next_node_gets_another_copy(
    made: tuple[Inputs, str], change: Callable[[Path], None], name: str
) -> None:
    inputs, digest = made
    taken = inputs.get(digest)
    assert inputs.get(digest) == taken
    assert inputs.tampered(taken) is None
    change(taken.path)
    assert inputs.tampered(taken) == name
    assert inputs.spoiled(taken)
    again = inputs.get(digest)
    assert again.path != taken.path
    assert (again.path / "deep" / "er" / "value").read_text() == "2"
    assert inputs.tampered(again) is None
    inputs.close()


def test_a_directory_that_is_gone_is_a_change(made: tuple[Inputs, str], tmp_path: Path) -> None:
    inputs, digest = made
    taken = inputs.get(digest)
    taken.path.rename(tmp_path / "elsewhere")
    assert inputs.tampered(taken) == "deep/er/value"


def test_what_a_kind_requires(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "model.onnx").write_text("x")
    (tmp_path / "outputs" / "y.npy").write_text("x")
    there = ("model.onnx", "*.onnx", "outputs/*.npy", "outputs/y.npy", "model.[o]nnx", "outputs", "*")
    assert first_unmet(there, tmp_path) is None
    for missing in ("model.bin", "*.bin", "outputs/x.npy", "model.onn?x", "outputs/y.npy/z"):
        assert first_unmet((*there, missing, "never"), tmp_path) == missing
