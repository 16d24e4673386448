"""Weights beside an ONNX file become half one by one, to the bytes that the library makes of the whole model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_models as models
import pytest
import unseen_models
from cbuild_onnx.convert.params import ConvertFp16
from cbuild_onnx.model import files
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

CONVERT = "cbuild_onnx.convert.fp16:convert"
FLOAT = TensorProto.FLOAT
SIZE = 32


def weight(name: str, seed: int, dtype: type = np.float32) -> TensorProto:
    values = np.random.default_rng(seed).standard_normal((SIZE, SIZE)) / SIZE
    return numpy_helper.from_array(values.astype(dtype), name)


def awkward() -> onnx.ModelProto:
    """Weights read in both precisions, only in float, half already, out of half's range, infinite, of whole numbers, in
    attributes and in branches."""
    wide = numpy_helper.to_array(weight("wide", 2)).copy()
    wide[0, :6] = 1e6, -1e6, 65504, 65510, 1e-9, -1e-9
    hidden = np.where(np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 2, np.inf, -np.inf).astype(np.float32)

    def branch(name: str, seed: int) -> onnx.GraphProto:
        nodes = [
            helper.make_node("MatMul", ["both", f"{name}.w"], [f"{name}.h"], f"{name}.product"),
            helper.make_node("Constant", [], [f"{name}.c"], f"{name}.constant", value=weight("c", seed + 1)),
            helper.make_node("MatMul", [f"{name}.h", f"{name}.c"], [f"{name}.y"], f"{name}.second"),
        ]
        out = [helper.make_tensor_value_info(f"{name}.y", FLOAT, ["batch", SIZE])]
        return helper.make_graph(nodes, name, [], out, [weight(f"{name}.w", seed)])

    nodes = [
        helper.make_node("MatMul", ["x", "shared"], ["a"], "low"),
        helper.make_node("MatMul", ["a", "shared"], ["b"], "high"),
        helper.make_node("Gemm", ["b", "exact"], ["c"], "only-high"),
        helper.make_node("MatMul", ["c", "wide"], ["d"], "clamped"),
        helper.make_node("Cast", ["half"], ["unhalved"], "cast", to=FLOAT),
        helper.make_node("MatMul", ["d", "unhalved"], ["e"], "was-half"),
        helper.make_node("Where", ["never", "hidden", "few"], ["mask"], "mask"),
        helper.make_node("MatMul", ["e", "mask"], ["f"], "masked"),
        helper.make_node("Gather", ["f", "index"], ["g"], "gather", axis=1),
        helper.make_node("Max", ["g", "floor"], ["h"], "max"),
        helper.make_node("Constant", [], ["constant"], "constant", value=weight("value", 6)),
        helper.make_node("MatMul", ["h", "constant"], ["both"], "by-constant"),
        helper.make_node("ReduceSum", ["both"], ["sum"], "sum", keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"], "test"),
        helper.make_node("If", ["positive"], ["y"], "if", then_branch=branch("then", 7), else_branch=branch("else", 9)),
    ]
    weights = [
        *(weight(name, seed) for seed, name in enumerate(("shared", "exact", "few"))),
        numpy_helper.from_array(wide, "wide"),
        weight("half", 3, np.float16),
        numpy_helper.from_array(hidden, "hidden"),
        numpy_helper.from_array(np.zeros((SIZE, SIZE), bool), "never"),
        numpy_helper.from_array(np.arange(SIZE)[::-1].repeat(8)[::8].copy(), "index"),
        numpy_helper.from_array(np.full((1, SIZE), -1000, np.float32), "floor"),
        numpy_helper.from_array(np.float32(0), "zero"),
    ]
    ends = {"x": (FLOAT, ["batch", SIZE])}, {"y": (FLOAT, ["batch", SIZE])}
    return models.model(nodes, *ends, weights)


def same_bytes_twice() -> onnx.ModelProto:
    return models.model(
        [
            helper.make_node("MatMul", ["x", "one"], ["h"], "first"),
            helper.make_node("MatMul", ["h", "other"], ["y"], "second"),
        ],
        {"x": (FLOAT, ["batch", SIZE])},
        {"y": (FLOAT, ["batch", SIZE])},
        [weight("one", 0), weight("other", 0)],
    )


def beside(model: onnx.ModelProto, directory: Path, threshold: int = 0) -> Path:
    """The model with every tensor in one file beside it, those of equal bytes in one place."""
    directory.mkdir(parents=True)
    places: dict[bytes, int] = {}
    with (directory / "model.onnx.data").open("wb") as out:
        for tensor in files.tensors(model):
            data = tensor.raw_data
            if len(data) < threshold:
                continue
            places.setdefault(data, out.tell())
            if places[data] == out.tell():
                out.write(data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "model.onnx.data"), ("offset", places[data]), ("length", len(data))):
                tensor.external_data.add(key=key, value=str(value))
    (directory / "model.onnx").write_bytes(model.SerializeToString())
    return directory


def by_library(subject: Path, params: ConvertFp16, place: Path) -> Path:
    """The library's conversion of the whole model at once."""
    made = convert_float_to_float16(
        files.read(subject / "model.onnx"),
        keep_io_types=params.keep_io_types,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *params.block_ops],
        node_block_list=list(params.block_nodes),
    )
    place.mkdir()
    files.write(made, place)
    return place


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def unseen(name: str, tmp_path: Path) -> onnx.ModelProto:
    unseen_models.MODELS[name](tmp_path / name)
    return onnx.load(tmp_path / name / "model.onnx")


MODELS = {
    "awkward": lambda _: awkward(),
    "same bytes twice": lambda _: same_bytes_twice(),
    "cnn": lambda _: models.cnn(),
    "branches": lambda place: unseen("branches", place),
    "loop": lambda place: unseen("loop", place),
}


@pytest.mark.parametrize("threshold", [0, 1024])
@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_one_by_one_gives_the_bytes_of_the_library(name, inline, threshold, technique, tmp_path, monkeypatch):
    subject = beside(MODELS[name](tmp_path), tmp_path / "subject", threshold)
    params = ConvertFp16(tolerance=1e9)
    if not inline:
        monkeypatch.setattr(files, "INLINE_LIMIT", (subject / "model.onnx").stat().st_size)
    made = technique(CONVERT, subject, params).out
    assert contents(made) == contents(by_library(subject, params, tmp_path / "library"))
    if name == "awkward":
        assert inline or (made / "model.onnx.data").is_file()
        files.validate(made)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"block_nodes": ("high", "only-high")}, {"exact"}),
        ({"block_nodes": ("low", "high")}, {"shared"}),
        ({"block_ops": ("Gemm",)}, {"exact"}),
        ({"keep_io_types": False}, set()),
    ],
)
def test_what_stays_float32_does_so_beside_the_file_too(asked, kept, technique, tmp_path):
    subject = beside(awkward(), tmp_path / "subject")
    params = ConvertFp16(tolerance=1e9, **asked)
    made = technique(CONVERT, subject, params).out
    assert contents(made) == contents(by_library(subject, params, tmp_path / "library"))
    types = {tensor.name: tensor.data_type for tensor in onnx.load(made / "model.onnx").graph.initializer}
    assert {name for name, kind in types.items() if kind == FLOAT} == kept | {"floor"}  # that of Max, always float32


PEAK = """
import json, pathlib, sys
import digits
from cbuild_onnx.convert import fp16
from cbuild_onnx.model import files
from cbuild_onnx.convert.params import ConvertFp16

def resident(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

subject, place = map(pathlib.Path, sys.argv[1:])
files.INLINE_LIMIT = 1 << 20  # as if it were larger than a file may be
before = resident("VmRSS")
digits.apply("cbuild_onnx.convert.fp16:convert", subject, ConvertFp16(), place)
print(json.dumps(resident("VmHWM") - before))
"""


def test_the_weights_are_not_all_taken_into_memory(python, tmp_path):
    """The library alone takes three times the model. What is left: the file as the runtime maps it."""
    size = models.chain(tmp_path / "subject", width=1024, layers=48)
    peak = json.loads(python("-c", PEAK, tmp_path / "subject", tmp_path / "out", cwd=tmp_path))
    assert peak < 1.5 * size, peak / size
