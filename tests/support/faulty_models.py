"""ONNX files that no runtime should take: against the standard, damaged, and hostile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_models as models
from onnx import TensorProto, helper, numpy_helper
from unseen_models import FLOAT, MODELS, branches, function, mlp, model, sparse_weight

__all__ = ["MODELS"]


@model
def opset_of_the_future() -> onnx.ModelProto:
    return mlp(999)


@model
def misspelt_operator() -> onnx.ModelProto:
    return models.one_op("MatMull", shape=("batch", 8))


@model
def no_nodes() -> onnx.ModelProto:
    return models.model([], {"x": (FLOAT, ["batch", 8])}, {"x": (FLOAT, ["batch", 8])})


@model
def no_outputs() -> onnx.ModelProto:
    made = mlp()
    del made.graph.output[:]
    return made


@model
def circle() -> onnx.ModelProto:
    made = mlp()
    made.graph.node[0].input[0] = "r"
    return made


@model
def function_of_itself() -> onnx.ModelProto:
    made = function()
    made.functions[0].node[0].CopyFrom(helper.make_node("Twice", ["v"], ["w"], "again", domain="own"))
    made.functions[0].opset_import.append(helper.make_opsetid("own", 1))
    return made


@model
def type_missing() -> onnx.ModelProto:
    made = mlp()
    made.graph.input[0].ClearField("type")
    return made


@model
def shape_missing() -> onnx.ModelProto:
    made = mlp()
    made.graph.input[0].type.tensor_type.ClearField("shape")
    return made


@model
def sizes_that_differ() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones((31, 4), np.float32), "b"))
    return made


@model
def node_names_twice() -> onnx.ModelProto:
    made = mlp()
    for node in made.graph.node:
        node.name = "same"
    return made


@model
def value_twice() -> onnx.ModelProto:
    made = mlp()
    made.graph.node[1].output[0] = "h"
    return made


@model
def weight_twice() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((8, 32), np.float32), "a"))
    return made


@model
def input_twice() -> onnx.ModelProto:
    made = mlp()
    made.graph.input.append(made.graph.input[0])
    return made


@model
def value_of_nothing() -> onnx.ModelProto:
    made = mlp()
    made.graph.node[2].input[0] = "nowhere"
    return made


@model
def value_of_nothing_in_a_branch() -> onnx.ModelProto:
    made = branches()
    made.graph.node[2].attribute[0].g.node[0].input[1] = "nowhere"
    return made


@model
def output_of_nothing() -> onnx.ModelProto:
    made = mlp()
    made.graph.output[0].name = "nothing"
    return made


@model
def weight_cut_off() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer[0].raw_data = made.graph.initializer[0].raw_data[:100]
    return made


@model
def negative_shape() -> onnx.ModelProto:
    made = mlp()
    made.graph.initializer[0].dims[0] = -8
    return made


@model
def sparse_weight_elsewhere() -> onnx.ModelProto:
    made = sparse_weight()
    values = made.graph.sparse_initializer[0].values
    values.ClearField("float_data")
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="../secret.bin")
    return made


def _file(name: str, data: Callable[[], bytes]) -> None:
    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(data())

    MODELS[name] = write


_file("empty_file", lambda: b"")
_file("not_onnx", lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
_file("cut_off", lambda: mlp().SerializeToString()[:-300])


def _external(name: str, location: str, data: bytes | None = None, first: int = 0, link: str | None = None) -> None:
    """A model whose weights are at ``location``, from the byte ``first`` on; ``data``: what the file holds (None: it is
    not written); ``link``: the directory that the one of ``location`` is a link to."""

    def write(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        made = mlp()
        offset = first
        blob = b""
        for tensor in made.graph.initializer:
            raw = tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", offset), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
            blob, offset = blob + raw, offset + len(raw)
        (directory / "model.onnx").write_bytes(made.SerializeToString())
        if link is not None:
            (directory / location).parent.symlink_to(link)
        if data is not None:
            place = Path(location) if Path(location).is_absolute() else directory / location
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(blob + data if data != b"short" else blob[:100])

    MODELS[name] = write


_external("external_data", "model.onnx.data", b"")
_external("external_data_missing", "model.onnx.data")
_external("external_data_short", "model.onnx.data", b"short")
_external("external_data_traversing", "../secret.bin", b"")
_external("external_data_absolute", "/etc/hostname")
_external("external_data_before_the_file", "model.onnx.data", b"", first=-10)
_external("external_data_linked", "data/hostname", link="/etc")
