"""ONNX files that lie about where their data is: nothing outside of the model's directory is read."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from cbuild_onnx.model import files
from onnx import TensorProto, helper

from compressbuild.api import UserError

SECRET = b"the secret of somebody else, sixty-four bytes of it, to the end"


def lying(directory: Path, **entries: str) -> Path:
    """A model with one external tensor of 16 floats, whose ``entries`` say where."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [16])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [value], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET + b"!")
    inner = tmp_path / "artifact"
    inner.mkdir()
    (inner / "data").write_bytes(bytes(64))
    (inner / "folder").mkdir()
    return inner


LIES = [
    {"location": "../secret"},
    {"location": "{outside}"},
    {"location": "folder/../../secret"},
    {"location": ""},
    {"location": "."},
    {"location": "folder"},
    {"location": "nothing"},
    {"offset": "0"},
    {"location": "data", "offset": "-8"},
    {"location": "data", "length": "-1"},
    {"location": "data", "offset": "1000000000000"},
    {"location": "data", "length": "1000000000000000"},
    {"location": "data", "offset": "many"},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_lie_is_refused_and_nothing_outside_is_read(place: Path, tmp_path: Path, lie: dict[str, str]) -> None:
    entries = {key: value.format(outside=tmp_path / "secret") for key, value in lie.items()}
    path = lying(place, **entries)
    model = files.read(path, weights=False)
    tensor = model.graph.initializer[0]
    for attempt in (
        lambda: b"".join(files.pieces(tensor, place)),
        lambda: files.take(tensor, place),
        lambda: files.take_small(model, place),
        lambda: files.write(model, tmp_path, weights_from=place),
    ):
        with pytest.raises(UserError, match="tensor 'w'") as caught:
            attempt()
        assert caught.value.hint
    assert SECRET not in model.SerializeToString()


def test_a_location_that_is_not_text(place: Path, tmp_path: Path) -> None:
    path = lying(place, location="d~ta")
    path.write_bytes(path.read_bytes().replace(b"d~ta", b"d\xffta"))
    with pytest.raises(UserError, match="tensor 'w'"):
        files.write(files.read(path, weights=False), tmp_path, weights_from=place)


@pytest.mark.parametrize("lie", LIES[:3], ids=str)
def test_reading_whole_models_refuses_it_too(place: Path, tmp_path: Path, lie: dict[str, str]) -> None:
    path = lying(place, **{key: value.format(outside=tmp_path / "secret") for key, value in lie.items()})
    with pytest.raises(UserError, match=r"cannot be read as ONNX"):
        files.read(path)
    with pytest.raises(ValueError, match=r"model|data|file"):
        files.validate(place)


def test_the_truth_is_read(place: Path, tmp_path: Path) -> None:
    path = lying(place, location="data", offset="0", length="64")
    written = files.write(files.read(path, weights=False), tmp_path, weights_from=place)
    assert onnx.load(written).graph.initializer[0].raw_data == bytes(64)
