from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as models
import pytest
from cbuild_onnx.model.lookups import table_rows
from cbuild_onnx.model.runner import OnnxRunner
from onnx import NodeProto, TensorProto, helper, numpy_helper, save

from compressbuild.api import UserError

WORDS = numpy_helper.from_array(np.ones((50, 4), np.float32), "words")
KINDS = numpy_helper.from_array(np.ones((2, 4), np.float32), "kinds")
BYTES = numpy_helper.from_array(np.ones((30, 4), np.int8), "bytes")
SCALE = numpy_helper.from_array(np.ones((), np.float32), "scale")
SHAPE = numpy_helper.from_array(np.array([-1]), "shape")


def node(op: str, takes: str, gives: str, **attributes: object) -> NodeProto:
    return helper.make_node(op, takes.split(), [gives], **attributes)


@pytest.mark.parametrize(
    ("nodes", "rows"),
    [
        ([node("Gather", "words ids", "y")], {"ids": 50}),
        ([node("Cast", "ids", "a", to=TensorProto.INT32), node("Gather", "words a", "y")], {"ids": 50}),
        ([node("Reshape", "ids shape", "a"), node("Gather", "words a", "y")], {"ids": 50}),
        ([node("Gather", "words ids", "a"), node("Gather", "kinds ids", "b"), node("Add", "a b", "y")], {"ids": 2}),
        ([node("DequantizeLinear", "bytes scale", "w"), node("Gather", "w ids", "y")], {"ids": 30}),
        ([node("Gather", "words ids", "y", axis=1)], {"ids": 4}),
        ([node("Add", "ids shape", "a"), node("Gather", "words a", "y")], {}),
        ([node("Constant", "", "w", value=KINDS), node("Gather", "w ids", "y")], {"ids": 2}),
        ([node("Cast", "ids", "y", to=TensorProto.FLOAT)], {}),
    ],
    ids=["plain", "cast", "reshaped", "two tables", "quantized", "axis", "computed", "constant", "none"],
)
def test_rows_of_the_tables_that_inputs_index(nodes: list[NodeProto], rows: dict[str, int]) -> None:
    model = models.model(
        nodes,
        {"ids": (TensorProto.INT64, ["batch", "length"])},
        {"y": (TensorProto.FLOAT, None)},
        [WORDS, KINDS, BYTES, SCALE, SHAPE],
    )
    assert table_rows(model) == rows


@pytest.mark.parametrize(
    ("ids", "said"), [([[3, 49]], ""), ([[3, 50]], "vocabulary"), ([[3, 2.5]], "shapes and types")]
)
def test_a_number_beyond_a_table_is_explained(tmp_path: Path, ids: list[list[float]], said: str) -> None:
    model = models.model(
        [node("Gather", "words ids", "y")],
        {"ids": (TensorProto.INT64, ["batch", "length"])},
        {"y": (TensorProto.FLOAT, None)},
        [WORDS],
    )
    save(model, tmp_path / "model.onnx")
    runner = OnnxRunner(tmp_path / "model.onnx")
    if not said:
        assert runner({"ids": np.array(ids)})["y"].shape == (1, 2, 4)
        return
    with pytest.raises(UserError, match="cannot run the model") as error:
        runner({"ids": np.array(ids)})
    assert said in str(error.value.hint)
