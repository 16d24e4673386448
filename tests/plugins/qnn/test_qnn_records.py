"""What the QNN plugin declares, and what it refuses, without its packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import onnx
import pytest
from cbuild_qnn.artifact import contexts, validate
from cbuild_qnn.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_qnn.settings import QnnSettings
from onnx import TensorProto, helper

from compressbuild.environment.lockfile import read_lock

PLACE = Path(importlib.util.find_spec("cbuild_qnn").submodule_search_locations[0])


def test_the_lock_pins_all_that_it_runs_on():
    lock = read_lock(str(PLACE / "requirements.txt"), "requirements.txt")
    for record in (*compressbuild_kinds(), *compressbuild_backends()):
        assert set(record.stack.tools) <= lock.versions.keys()
        assert record.stack.environment.requirements == "cbuild_qnn:requirements.txt"
    assert {line.partition("==")[0] for line in (PLACE / "requirements.in").read_text().split()} <= lock.versions.keys()


@pytest.mark.parametrize(
    ("written", "said"),
    [({"fp16": True}, "needs 'soc-model'"), ({"htp-arch": "v1"}, "htp-arch"), ({"sizes": {"batch": 0}}, "sizes")],
)
def test_settings_that_cannot_be(written, said):
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(written, QnnSettings)


def written(place: Path, *nodes: onnx.NodeProto) -> Path:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "made", values[:1], values[1:])
    onnx.save(helper.make_model(graph), place / "model.onnx")
    return place


def context(file: str) -> onnx.NodeProto:
    return helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context=file.encode())


def test_a_context_names_its_binaries_and_what_is_left(tmp_path):
    written(tmp_path, context("a_qnn.bin"), helper.make_node("Relu", ["y"], ["z"]))
    (tmp_path / "a_qnn.bin").write_bytes(b"x")
    assert contexts(tmp_path) == (["a_qnn.bin"], {"Relu": 1})
    validate(tmp_path)


@pytest.mark.parametrize("file", ["a_qnn.bin", "../a_qnn.bin", "/etc/passwd"])
def test_a_binary_that_is_not_beside_the_model_is_missed(file, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a_qnn.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match="which is not beside it"):
        validate(written(inner, context(file)))


def test_a_model_without_contexts_is_none(tmp_path):
    with pytest.raises(ValueError, match="has no EPContext"):
        validate(written(tmp_path, helper.make_node("Relu", ["x"], ["y"])))
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="is not an ONNX model"):
        validate(tmp_path)
