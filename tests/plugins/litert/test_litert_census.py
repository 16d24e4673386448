"""Weights, arithmetic and traffic of LiteRT files, against what LiteRT itself computes with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

pytest.importorskip("ai_edge_litert", reason="needs ai_edge_litert, of the environment litert")

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from cbuild_litert.census import census
from cbuild_metrics.cost.params import Shapes
from cbuild_metrics.cost.precision import quantized_share
from tflite_files import File

RNG = np.random.default_rng(0)
VALID = schema.Padding.VALID


def floats(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 1.5, shape).astype(np.float32)  # none is zero


def convolution(stride: int = 1) -> Any:
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = VALID, stride, stride
    options.dilationHFactor = options.dilationWFactor = 1
    return options


def conv(place: Path, stride: int = 1, groups: int = 1) -> Path:
    file = File()
    x = file.tensor("x", (1, 7, 6, 4))
    weight = file.tensor("w", (6, 3, 2, 4 // groups), data=floats(6, 3, 2, 4 // groups))
    bias = file.tensor("b", (6,), data=floats(6) * 0)
    y = file.tensor("y", (1, (7 - 3) // stride + 1, (6 - 2) // stride + 1, 6))
    file.operator("CONV_2D", [x, weight, bias], [y], convolution(stride))
    return file.write(place, [x], [y])


def depthwise(place: Path) -> Path:
    file = File()
    x = file.tensor("x", (1, 6, 6, 3))
    weight = file.tensor("w", (1, 3, 3, 6), data=floats(1, 3, 3, 6))
    bias = file.tensor("b", (6,), data=floats(6) * 0)
    y = file.tensor("y", (1, 4, 4, 6))
    options = schema.DepthwiseConv2DOptionsT()
    options.padding, options.strideH, options.strideW, options.depthMultiplier = VALID, 1, 1, 2
    options.dilationHFactor = options.dilationWFactor = 1
    file.operator("DEPTHWISE_CONV_2D", [x, weight, bias], [y], options)
    return file.write(place, [x], [y])


def transposed(place: Path) -> Path:
    file = File()
    x = file.tensor("x", (1, 3, 4, 2))
    shape = file.tensor("shape", (4,), "int32", data=np.array([1, 7, 9, 5], np.int32))
    weight = file.tensor("w", (5, 3, 3, 2), data=floats(5, 3, 3, 2))
    y = file.tensor("y", (1, 7, 9, 5))
    options = schema.TransposeConvOptionsT()
    options.padding, options.strideH, options.strideW = VALID, 2, 2
    file.operator("TRANSPOSE_CONV", [shape, weight, x], [y], options)
    return file.write(place, [x], [y])


def connected(place: Path, batch: int = 1) -> Path:
    file = File()
    x = file.tensor("x", (batch, 5))
    weight = file.tensor("w", (7, 5), data=floats(7, 5))
    y = file.tensor("y", (batch, 7))
    file.operator("FULLY_CONNECTED", [x, weight, -1], [y], schema.FullyConnectedOptionsT())
    return file.write(place, [x], [y])


def product(place: Path, transposes: bool = False) -> Path:
    file = File()
    x = file.tensor("x", (1, 2, 5, 3) if transposes else (1, 2, 3, 5))
    other = file.tensor("w", (1, 2, 5, 4), data=floats(1, 2, 5, 4))
    y = file.tensor("y", (1, 2, 3, 4))
    options = schema.BatchMatMulOptionsT()
    options.adjX = transposes
    file.operator("BATCH_MATMUL", [x, other], [y], options)
    return file.write(place, [x], [y])


def products(model: Path) -> int:
    """How many products there are, by running the file: each input by itself reaches so many outputs."""
    interpreter = Interpreter(
        model_path=str(model / "model.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = 0
    for at in range(math.prod(given["shape"])):
        one = np.zeros(given["shape"], np.float32)
        one.reshape(-1)[at] = 1
        interpreter.set_tensor(given["index"], one)
        interpreter.invoke()
        found += int(np.count_nonzero(interpreter.get_tensor(made["index"])))
    return found


@pytest.mark.parametrize(
    ("make", "operator"),
    [
        (conv, "CONV_2D"),
        (lambda place: conv(place, stride=2), "CONV_2D"),
        (lambda place: conv(place, groups=2), "CONV_2D"),
        (depthwise, "DEPTHWISE_CONV_2D"),
        (transposed, "TRANSPOSE_CONV"),
        (connected, "FULLY_CONNECTED"),
        (product, "BATCH_MATMUL"),
        (lambda place: product(place, transposes=True), "BATCH_MATMUL"),
    ],
)
def test_each_product_that_is_computed_is_counted(make: Callable[[Path], Path], operator: str, tmp_path: Path) -> None:
    model = make(tmp_path / "m")
    found = counted(model, tmp_path).macs({})
    assert found.by_operator == {operator: products(model)}
    assert found.by_type == {"float": found.value}
    assert found.uncounted == ()


def counted(model: Path, tmp_path: Path) -> Any:
    return census(make_context(tmp_path / "ctx"), model)


def test_arithmetic_is_that_of_one_sample(tmp_path: Path) -> None:
    assert counted(connected(tmp_path / "m", batch=4), tmp_path).macs({}).value == 35


def test_shapes_that_vary_take_the_sizes_that_are_asked_for(tmp_path: Path) -> None:
    file = File()
    x = file.tensor("x", (1, 3, 5), signature=(1, -1, 5))
    weight = file.tensor("w", (7, 5), data=floats(7, 5))
    y = file.tensor("y", (1, 3, 7), signature=(1, -1, 7))
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    file.operator("FULLY_CONNECTED", [x, weight, -1], [y], options)
    found = counted(file.write(tmp_path / "m", [x], [y]), tmp_path)
    assert {size: found.macs({"x.1": size}).value for size in (1, 9)} == {1: 35, 9: 315}
    assert found.macs({}).axes == {"x.1": 16}
    with pytest.raises(UserError, match="no input has an axis 'tokens'"):
        found.macs({"tokens": 4})


def quantized(place: Path, weight_type: str, data_type: str, *, behind: bool = False) -> Path:
    """A layer of 6 × 4 weights, and one of 4 × 8 in floats before it."""
    file = File()
    scale = {"int8": 0.1, "int4": 0.1}
    x = file.tensor("x", (1, 8))
    first = file.tensor("first", (4, 8), data=floats(4, 8))
    h = file.tensor("h", (1, 4))
    file.operator("FULLY_CONNECTED", [x, first, -1], [h], schema.FullyConnectedOptionsT())
    if data_type == "int8":
        h, last = file.tensor("hq", (1, 4), "int8", scale=0.1), h
        file.operator("QUANTIZE", [last], [h])
    numbers = np.arange(24, dtype=np.int8).reshape(6, 4) % 15 - 7
    stored: Any = numbers
    if weight_type == "int4":
        flat = numbers.reshape(-1).astype(np.uint8) & 15
        stored = bytes(flat[0::2] | flat[1::2] << 4)
    elif weight_type == "float16":
        stored = numbers.astype(np.float16)
    weight = file.tensor("second", (6, 4), weight_type, scale=scale.get(weight_type, 0.0), data=stored)
    if behind:
        weight, constant = file.tensor("plain", (6, 4)), weight
        file.operator("DEQUANTIZE", [constant], [weight])
    y = file.tensor("y", (1, 6), "int8" if data_type == "int8" else "float32", scale=scale.get(data_type, 0.0))
    file.operator("FULLY_CONNECTED", [h, weight, -1], [y], schema.FullyConnectedOptionsT())
    return file.write(place, [x], [y])


@pytest.mark.parametrize(
    ("weight", "data", "behind", "share", "macs"),
    [
        ("int8", "int8", False, 24 / 56, 24 / 56),
        ("int8", "float32", False, 24 / 56, 24 / 56),  # LiteRT rounds the data as it runs
        ("int4", "float32", False, 24 / 56, 24 / 56),
        ("int8", "float32", True, 24 / 56, 0.0),
        ("float16", "float32", True, 0.0, 0.0),
    ],
)
def test_how_much_is_quantized(weight: str, data: str, behind: bool, share: float, macs: float, tmp_path: Path) -> None:
    model = quantized(tmp_path / "m", weight, data, behind=behind)
    found = {each.name: each for each in counted(model, tmp_path).weights()}
    assert {name: (each.dtype, each.count, each.operator) for name, each in found.items()} == {
        "first": ("float32", 32, "FULLY_CONNECTED"),
        "second": (weight, 24, "FULLY_CONNECTED"),
    }
    assert (found["first"].layer, found["second"].layer) == ("h", "y")
    np.testing.assert_array_equal(found["second"].array, np.arange(24).reshape(6, 4) % 15 - 7)

    class Asked:
        @staticmethod
        def census(_: str) -> Any:
            return counted(model, tmp_path)

    said = quantized_share(Asked(), model, Shapes())  # type: ignore[arg-type]
    assert (said["value"], said["macs"]) == (pytest.approx(share), pytest.approx(macs))
    assert said["float"][0]["name"] == "first"


def test_what_is_not_trained_is_left_out_and_a_shared_weight_counts_once(tmp_path: Path) -> None:
    file = File()
    x = file.tensor("x", (1, 4))
    weight = file.tensor("w", (4, 4), data=floats(4, 4))
    twice = file.tensor("w again", (4, 4))
    file.graph.tensors[twice].buffer = file.graph.tensors[weight].buffer
    half = file.tensor("half", (), data=np.float32(0.5).reshape(()))
    shape = file.tensor("shape", (2,), "int32", data=np.array([2, 2], np.int32))
    h, i, j, y = (
        file.tensor(name, size) for name, size in (("h", (1, 4)), ("i", (1, 4)), ("j", (1, 4)), ("y", (2, 2)))
    )
    file.operator("FULLY_CONNECTED", [x, weight, -1], [h], schema.FullyConnectedOptionsT())
    file.operator("FULLY_CONNECTED", [h, twice, -1], [i], schema.FullyConnectedOptionsT())
    file.operator("MUL", [i, half], [j], schema.MulOptionsT())
    file.operator("RESHAPE", [j, shape], [y])
    found = counted(file.write(tmp_path / "m", [x], [y]), tmp_path)
    assert [each.name for each in found.weights()] == ["w"]
    assert found.macs({}).value == 32
    assert found.traffic({}, 1) == 4 * 16 + 4 + 8


def test_of_a_table_the_rows_that_are_looked_up_are_read(tmp_path: Path) -> None:
    file = File()
    ids = file.tensor("ids", (3,), "int32")
    table = file.tensor("table", (100, 8), data=floats(100, 8))
    y = file.tensor("y", (3, 8))
    file.operator("EMBEDDING_LOOKUP", [ids, table], [y])
    found = counted(file.write(tmp_path / "m", [ids], [y]), tmp_path)
    assert [(each.name, each.operator, each.count) for each in found.weights()] == [("table", "EMBEDDING_LOOKUP", 800)]
    assert (found.traffic({}, 1), found.macs({}).value) == (3 * 8 * 4, 0)
