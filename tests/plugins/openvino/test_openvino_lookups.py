"""An IR whose ids index a table: the parity check reaches every row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as models
import pytest
from cbuild_openvino import compile
from cbuild_openvino.artifact import read, read_onnx, write
from cbuild_openvino.lookups import table_rows
from cbuild_openvino.settings import OpenVinoSettings
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError
from compressbuild.api.testing import run_node


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    words = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    model = models.model(
        [
            helper.make_node("Cast", ["ids"], ["a"], to=TensorProto.INT32),
            helper.make_node("Gather", ["words", "a"], ["b"]),
            helper.make_node("Gather", ["kinds", "types"], ["c"]),
            helper.make_node("Add", ["b", "c"], ["y"]),
        ],
        {name: (TensorProto.INT64, ["batch", "length"]) for name in ("ids", "types")},
        {"y": (TensorProto.FLOAT, ["batch", "length", 4])},
        [numpy_helper.from_array(words, "words"), numpy_helper.from_array(words[:3], "kinds")],
    )
    source = models.save(model, tmp_path / "source")
    made = tmp_path / "ir"
    made.mkdir()
    write(read_onnx(source / "model.onnx", tmp_path), made)
    return made


def test_rows_of_the_tables_that_inputs_index(ir: Path) -> None:
    assert table_rows(read(ir)) == {"ids": 50, "types": 3}


def test_a_row_that_changed_is_seen(ir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_node("cbuild_openvino.compile:compile", ir, OpenVinoSettings(), tmp_path / "ok", kind="openvino-ir")

    def spoil(model: object, directory: Path, *, compress_to_fp16: bool) -> None:
        write(model, directory, compress_to_fp16=compress_to_fp16)
        stored = np.fromfile(directory / "model.bin", np.float32)
        stored[49 * 4 : 50 * 4] += 1
        stored.tofile(directory / "model.bin")

    monkeypatch.setattr(compile, "write", spoil)
    with pytest.raises(UserError, match="output 'y' of OpenVINO is not what its source computes"):
        run_node("cbuild_openvino.compile:compile", ir, OpenVinoSettings(), tmp_path / "out", kind="openvino-ir")
