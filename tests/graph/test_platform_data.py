"""A platform's settings may name a dataset, as a calibration that is part of compiling does."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.errors import CompressfileError
from compressbuild.project import Project

FILE = """\
version: 1
models:
  net: {factory: "net:build", inputs: {x: {shape: [batch, 4], dtype: float32}}}
datasets:
  calib: {loader: "data:calib"}
  other: {loader: "data:other"}
platforms:
  phone: {backend: executorch, precision: int8, data: DATA}
  laptop: {backend: torch-inductor, parity: {data: DATA, max-error: 0.01}}
targets:
  app: {from: net, platform: phone}
  desk: {from: net, platform: laptop}
"""


def project(tmp_path: Path, data: str) -> Project:
    (tmp_path / "net.py").write_text("def build(): pass\n")
    (tmp_path / "data.py").write_text("def calib(): pass\ndef other(): pass\n")
    (tmp_path / "Compressfile").write_text(FILE.replace("DATA", data))
    return Project(tmp_path / "Compressfile")


def test_it_is_opened_and_its_code_is_in_the_key(tmp_path: Path) -> None:
    graph = project(tmp_path, "calib").graph
    node = graph.nodes[graph.targets["app"].artifact]
    assert (node.role, node.datasets) == ("compile", ("calib",))
    assert "data" not in node.key_params  # what it is called does not matter
    assert node.params["data"] == "calib"
    again = project(tmp_path, "other").graph
    assert again.nodes[again.targets["app"].artifact].datasets == ("other",)


def test_it_may_be_named_inside_of_a_setting(tmp_path: Path) -> None:
    """What stands beside it stays in the key."""
    graph = project(tmp_path, "calib").graph
    node = graph.nodes[graph.targets["desk"].artifact]
    assert (node.role, node.datasets) == ("compile", ("calib",))
    assert "data" not in node.key_params["parity"]
    assert node.key_params["parity"]["max-error"] == 0.01
    assert node.params["parity"]["data"] == "calib"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("calibb", "parameter 'data' names an unknown dataset 'calibb'", "did you mean 'calib'?"),
        ("null", "backend 'executorch': 'precision: int8' needs 'data', a dataset to calibrate on", None),
    ],
)
def test_what_is_wrong_is_located(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    with pytest.raises(CompressfileError) as caught:
        _ = project(tmp_path, text).graph
    found = caught.value.diagnostics[0]
    assert message in found.message
    assert hint is None or found.hint == hint
    assert found.mark.line in (7, 8)


def test_what_is_wrong_inside_of_a_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        _ = project(tmp_path, "calibb").graph
    (_, found) = caught.value.diagnostics
    assert found.message == "parameter 'parity.data' names an unknown dataset 'calibb'"
    assert found.hint == "did you mean 'calib'?"
    assert FILE.splitlines()[found.mark.line - 1][found.mark.column - 1 :].startswith("DATA, max-error")
