from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import onnx
import pytest
from cbuild_onnx.model import files
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError


def noisy() -> onnx.ModelProto:
    """A model with a subgraph and a function, and a trace of its origin wherever one can be."""

    def note(thing):
        thing.doc_string = "made in /home/somebody"
        thing.metadata_props.add(key="trace", value="/home/somebody/model.py:7")
        return thing

    branch = note(
        helper.make_graph(
            [note(helper.make_node("Identity", ["x"], ["y"]))],
            "branch",
            [],
            [note(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]))],
        )
    )
    body = [note(helper.make_node("Identity", ["a"], ["b"]))]
    function = note(helper.make_function("own", "Same", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    graph = note(
        helper.make_graph(
            [
                note(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)),
                helper.make_node("Same", ["z"], ["w"], domain="own"),
            ],
            "main",
            [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
            [helper.make_tensor_value_info("w", TensorProto.FLOAT, [2])],
            [note(numpy_helper.from_array(np.ones(2, np.float32), "x"))],
        )
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return note(helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=10))


def test_strip_reaches_subgraphs_functions_and_tensors(tmp_path):
    model = noisy()
    assert b"somebody" in model.SerializeToString()
    files.write(model, tmp_path)
    assert b"somebody" not in (tmp_path / "model.onnx").read_bytes()
    files.validate(tmp_path)
    assert [node.op_type for node in files.nodes(files.read(tmp_path / "model.onnx"))].count("Identity") == 3


def test_the_model_is_found_by_name_or_because_it_is_the_only_one(tmp_path):
    with pytest.raises(UserError, match="holds none"):
        files.find(tmp_path)
    (tmp_path / "net.onnx").touch()
    assert files.find(tmp_path).name == "net.onnx"
    (tmp_path / "other.onnx").touch()
    with pytest.raises(UserError, match=r"holds net\.onnx, other\.onnx"):
        files.find(tmp_path)
    (tmp_path / "model.onnx").touch()
    assert files.find(tmp_path).name == "model.onnx"


def test_external_data_is_inlined_when_it_fits(exported, tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "written").mkdir()
    model = onnx.load(exported / "model.onnx")
    onnx.save_model(model, tmp_path / "given/net.onnx", save_as_external_data=True, location="net.weights")
    source = files.find(tmp_path / "given")
    assert files.is_large(source)
    assert files.external_files(files.read(source, weights=False)) == {"net.weights"}
    files.write(files.read(source, weights=False), tmp_path / "written", weights_from=source.parent)
    assert [path.name for path in (tmp_path / "written").iterdir()] == ["model.onnx"]
    files.validate(tmp_path / "written")


@pytest.mark.parametrize("external", [True, False], ids=["from a file", "from memory"])
def test_weights_that_do_not_fit_are_moved_without_reading_them_all(external, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "INLINE_LIMIT", 1_000_000)
    monkeypatch.setattr(files, "_CHUNK", 50_000)
    weights = {f"w{i}": np.random.default_rng(i).standard_normal((500, 501), np.float32) for i in range(6)}
    weights["shape"] = np.array([-1, 500], np.int64)
    weights["odd"] = np.arange(2001, dtype=np.int8)
    made = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 500])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    given, written = tmp_path / "given", tmp_path / "written"
    given.mkdir()
    written.mkdir()
    if external:
        onnx.save_model(model, given / "net.onnx", save_as_external_data=True, location="net.weights", size_threshold=0)
        model = files.read(given / "net.onnx", weights=False)
    tracemalloc.start()
    files.write(model, written, weights_from=given if external else None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000  # of 6 MB in tensors of 1 MB each
    assert sorted(path.name for path in written.iterdir()) == ["model.onnx", "model.onnx.data"]
    files.validate(written)
    inside = {
        tensor.name
        for tensor in files.read(written / "model.onnx", weights=False).graph.initializer
        if not tensor.external_data
    }
    assert inside == {"shape"}
    found = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(written / "model.onnx").graph.initializer
    }
    assert list(found) == list(weights)
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)


def test_linked_external_data_is_refused(exported, tmp_path):
    """A link could point anywhere; onnx refuses it, and so does the kind."""
    given = tmp_path / "given"
    given.mkdir()
    onnx.save_model(onnx.load(exported / "model.onnx"), given / "net.onnx", save_as_external_data=True, location="w")
    shutil.move(given / "w", tmp_path / "w")
    (given / "w").symlink_to(tmp_path / "w")
    with pytest.raises(ValueError):
        files.validate(given)


def test_nodes_are_sorted_and_otherwise_keep_their_order(tmp_path):
    """Quantizers append what they insert; the standard, and onnx's checker, want producers first."""

    def node(name: str, *inputs: str):
        return helper.make_node("Sum", inputs, [name], name)

    branch = helper.make_graph(
        [node("inner", "late")], "branch", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [2])]
    )
    chosen = helper.make_node("If", ["c"], ["chosen"], "chosen", then_branch=branch, else_branch=branch)
    graph = helper.make_graph(
        [node("a", "x"), chosen, node("out", "chosen", "b"), node("b", "x"), node("late", "b")],
        "main",
        [
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])],
    )
    files.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path)
    files.validate(tmp_path)
    assert [n.name for n in onnx.load(tmp_path / "model.onnx").graph.node] == ["a", "b", "late", "chosen", "out"]
