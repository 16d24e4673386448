"""Model files that anybody may have written: safetensors, ``model.json``, ONNX, packages, with a few bytes changed."""

from __future__ import annotations

import json
import logging
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from cbuild_inductor.artifact import validate as validate_package
from cbuild_onnx.model import files
from cbuild_onnxruntime.artifact import onnx_file, validate_flat
from cbuild_onnxruntime.artifact import validate as validate_compiled
from cbuild_torch.model import description
from cbuild_torch.model.checkpoint import Checkpoint
from cbuild_torch.model.source import _read as read_weights
from fuzzing import survive
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save
from sweeps import Tally, tallied, tries

from compressbuild.api import UserError

SECRET = b"the secret of somebody else, sixty-four bytes of it, to the end!"
MODEL_JSON = {
    "format": 1, "factory": "digits.model:build", "args": {"width": 32}, "seed": 0,
    "inputs": [{"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32"}],
    "edits": [{"op": "resize"}, {"op": "sparse", "parameters": ["a"]}],
}  # fmt: skip
WEIGHTS = {"a": np.arange(16, dtype=np.float32), "b": np.ones((2, 2), np.float16)}


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def span(start: object, end: object, shape: object = (1,)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


ONE = json.dumps(span(0, 4)).encode()
HOSTILE = {
    "empty": b"",
    "length beyond the file": safetensors(b"{}", length=3),
    "length of 2^63": safetensors(b"{}", length=1 << 63),
    "length of 2^64 - 1": safetensors(b"{}", length=(1 << 64) - 1),
    "overlap": safetensors({"a": span(0, 8, (2,)), "b": span(4, 8)}, bytes(8)),
    "all the same bytes": safetensors({f"t{number}": span(0, 4) for number in range(1000)}, bytes(4)),
    "gap": safetensors({"a": span(0, 4), "b": span(8, 12)}, bytes(12)),
    "twice the same name": safetensors(b'{"a":' + ONE + b',"a":' + ONE + b"}", bytes(4)),
    "more bytes than tensors": safetensors({"a": span(0, 4)}, bytes(8)),
    "before the start": safetensors({"a": span(-4, 0), "b": span(0, 4)}, bytes(4)),
    "backwards": safetensors({"a": span(4, 0)}, bytes(4)),
    "offsets that are no numbers": safetensors({"a": span("0", "4")}, bytes(4)),
    "offsets without an end": safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1e999]}}', bytes(4)),
    "one offset": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, bytes(4)),
    "no object": safetensors([1, 2]),
    "deep": safetensors(b'{"a":' * 20_000),
    "not UTF-8": safetensors(b'{"\xff":' + ONE + b"}", bytes(4)),
    "a number of 5,000 digits": safetensors({"a": {"data_offsets": [0]}}).replace(b"[0]", b"[" + b"9" * 5000 + b"]"),
}


def torch_model(place: Path, weights: bytes = save(WEIGHTS), text: bytes = json.dumps(MODEL_JSON).encode()) -> Path:
    (place / description.WEIGHTS).write_bytes(weights)
    (place / description.DESCRIPTION).write_bytes(text)
    return place


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path: Path, name: str) -> None:
    torch_model(tmp_path, HOSTILE[name])
    with pytest.raises(ValueError, match=r"^weights\.safetensors "):
        description.validate(tmp_path)


def test_a_header_that_is_only_long_is_not_read(tmp_path: Path) -> None:
    """A sparse file: what its first eight bytes promise is there."""
    path = torch_model(tmp_path) / description.WEIGHTS
    with path.open("r+b") as file:
        file.write(struct.pack("<Q", 8 << 30))
        file.truncate((8 << 30) + 8)
    survive(lambda _: description.validate(tmp_path), [b"x"], (ValueError,), tally := Tally(1), 1)
    assert tally.failed == []
    with pytest.raises(ValueError, match="header of 8,589,934,592 bytes"):
        description.validate(tmp_path)


def test_what_is_whole_is_valid(tmp_path: Path) -> None:
    description.validate(torch_model(tmp_path))
    description.validate(torch_model(tmp_path, save({})))
    description.validate(torch_model(tmp_path, save({"none": np.zeros((0, 3), np.float32), **WEIGHTS})))


def packed(path: Path, size: int) -> Path:
    """A state dict as ``torch.save`` writes it, but compressed: few bytes on disk, ``size`` in memory."""
    import torch

    torch.save({"w": torch.zeros(size // 4)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in members.items():
            archive.writestr(info.filename, data)
    return path


def test_weights_that_are_a_decompression_bomb(tmp_path: Path) -> None:
    path = packed(tmp_path / "weights.pt", 64 << 20)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="compressed") as caught:
        read_weights(path)
    assert caught.value.hint


def test_a_package_that_is_a_decompression_bomb(tmp_path: Path) -> None:
    interface = {"device": "cpu", "torch": "2", "inputs": [], "outputs": ["y"]}
    (tmp_path / "interface.json").write_text(json.dumps(interface))
    with zipfile.ZipFile(tmp_path / "model.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/a.so", bytes(64 << 20))
    with pytest.raises(ValueError, match="compressed"):
        validate_package(tmp_path)


def weights_files(place: Path, tally: Tally, count: int) -> None:
    whole = torch_model(place) / description.WEIGHTS

    def read(data: bytes) -> None:
        whole.write_bytes(data)
        description.validate(place)

    def load(data: bytes) -> None:
        whole.write_bytes(data)
        read_weights(whole)

    def resume(data: bytes) -> None:
        (place / "s.safetensors").write_bytes(data)
        Checkpoint(SimpleNamespace(log=logging.getLogger("quiet"), checkpoint=place), "s").read()  # type: ignore[arg-type]

    logging.getLogger("quiet").disabled = True
    seeds = [save(WEIGHTS), save(WEIGHTS, {"state": "{}"}), *HOSTILE.values()]
    survive(read, seeds, (ValueError,), tally, count)
    survive(load, seeds, (UserError,), tally, count)
    survive(resume, seeds, (), tally, count)


def descriptions(place: Path, tally: Tally, count: int) -> None:
    def read(data: bytes) -> None:
        found = description.ModelDescription.read(torch_model(place, text=data))
        _ = found.resized, found.sparse, [(each.name, each.shape, each.dtype) for each in found.inputs]

    survive(read, [json.dumps(MODEL_JSON).encode()], (ValueError,), tally, count)


def a_model(**entries: str) -> bytes:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    away = TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[16], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        away.external_data.add(key=key, value=value)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, None)]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    ends = [
        helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("x", 1, ["n", 4]), ("c", 9, []))
    ]
    graph = helper.make_graph(
        nodes, "g", ends, [helper.make_tensor_value_info("y", 1, None)], [weight, *([away] if entries else [])]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


ONNX = [
    a_model(),
    a_model(location="data", offset="0", length="64"),
    a_model(location="../secret", offset="0", length="64"),
    a_model(location="data", offset="0", length="1000000000000000"),
]


def onnx_files(place: Path, tally: Tally, count: int) -> None:
    (place.parent / "secret").write_bytes(SECRET)
    (place / "data").write_bytes(bytes(64))
    out = place / "out"
    out.mkdir()

    def put(data: bytes) -> Path:
        (place / "model.onnx").write_bytes(data)
        return place / "model.onnx"

    def kept(model: onnx.ModelProto) -> None:
        assert SECRET not in model.SerializeToString(), "it read what lies outside"

    def check(data: bytes) -> None:
        put(data)
        files.validate(place)

    def whole(data: bytes) -> None:
        kept(files.read(put(data)))

    def rewritten(data: bytes) -> None:
        written = files.write(files.read(put(data), weights=False), out, weights_from=place)
        kept(files.read(written))

    def compiled(data: bytes) -> None:
        put(data)
        validate_compiled(place)
        onnx_file(place)

    survive(check, ONNX, (ValueError,), tally, count)
    survive(whole, ONNX, (UserError,), tally, count)
    survive(rewritten, ONNX, (UserError,), tally, count)
    survive(compiled, ONNX, (ValueError,), tally, count)


def packages(place: Path, tally: Tally, count: int) -> None:
    interface = {
        "device": "cpu", "torch": "2", "outputs": ["y"],
        "inputs": [{"name": "x", "shape": ["batch", 1], "dtype": "float32"}],
    }  # fmt: skip
    text = json.dumps(interface).encode()
    with zipfile.ZipFile(place / "model.pt2", "w") as archive:
        archive.writestr("model/a.so", b"\x7fELF" * 9)
        archive.writestr("model/weights", bytes(9))
    package = (place / "model.pt2").read_bytes()

    def zipped(data: bytes) -> None:
        (place / "interface.json").write_bytes(text)
        (place / "model.pt2").write_bytes(data)
        validate_package(place)

    def described(data: bytes) -> None:
        (place / "interface.json").write_bytes(data)
        (place / "model.pt2").write_bytes(package)
        validate_package(place)

    def flat(data: bytes) -> None:
        (place / "model.ort").write_bytes(data)
        validate_flat(place)

    survive(zipped, [package], (ValueError,), tally, count)
    survive(described, [text], (ValueError,), tally, count)
    survive(flat, [b"\x1c\0\0\0ORTM" + bytes(40)], (ValueError,), tally, count)


KINDS: list[Callable[[Path, Tally, int], None]] = [weights_files, descriptions, onnx_files, packages]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
Record = Callable[[str, Any], None]


@pytest.fixture
def place(fast_path: Path) -> Path:
    (inner := fast_path / "artifact").mkdir()
    return inner


@kinds
def test_model_files(place: Path, kind: Callable[[Path, Tally, int], None], record_property: Record) -> None:
    with tallied(record_property) as tally:
        kind(place, tally, 150)


@pytest.mark.slow
@kinds
def test_model_files_long(place: Path, kind: Callable[[Path, Tally, int], None], record_property: Record) -> None:
    with tallied(record_property) as tally:
        kind(place, tally, tries(10_000))
