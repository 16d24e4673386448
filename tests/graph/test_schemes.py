"""Schemes are open: a backend asks for one by name, and a quantizer says which it knows."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest

from compressbuild.api import Backend, Params, Technique, UserError, hookimpl, schemes
from compressbuild.compressfile.load import loads
from compressbuild.errors import CompressfileError
from compressbuild.graph import Graph, build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

FILE = """
version: 1
models: {net: {file: net.onnx}}
datasets: {few: {loader: "data:few"}}
platforms: {chip: {backend: npu}}
targets:
  small: {from: net, steps: [STEP], platform: chip}
"""


class Own(Params):
    """Quantize for the NPU."""

    scheme: Annotated[str, schemes("u4-log", "u8-affine")] = "auto"


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("npu")

    @hookimpl
    def compressbuild_backends() -> list[Backend]:
        return [Backend(name="npu", compile="npu:compile", load="npu:load", qdq_scheme="u4-log")]

    @hookimpl
    def compressbuild_techniques() -> list[Technique]:
        return [Technique(name="npu.quantize", run="npu:quantize", params=Own, consumes=("onnx",))]

    vars(module).update(
        compressbuild_backends=compressbuild_backends, compressbuild_techniques=compressbuild_techniques
    )
    monkeypatch.setitem(sys.modules, "npu", module)
    return module


def graph(npu: ModuleType, place: Path, step: str, text: str = FILE) -> Graph:
    registry = discover(cache=None, extra=[npu])
    return build_graph(loads(text.replace("STEP", step), place / "Compressfile"), registry, Facts.fixed({}))


def scheme(found: Graph, name: str) -> object:
    return next(node for node in found.nodes if node.name == name).params["scheme"]


def test_a_backend_and_a_quantizer_agree_on_a_scheme_of_their_own(npu: ModuleType, tmp_path: Path) -> None:
    assert scheme(graph(npu, tmp_path, "npu.quantize"), "npu.quantize") == "u4-log"
    assert scheme(graph(npu, tmp_path, "npu.quantize: {scheme: u8-affine}"), "npu.quantize") == "u8-affine"
    nowhere = FILE.replace(", platform: chip", "")
    assert scheme(graph(npu, tmp_path, "npu.quantize", nowhere), "npu.quantize") == "u4-log", "the first that it knows"


def test_a_quantizer_refuses_what_it_does_not_know(npu: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CompressfileError) as caught:
        graph(npu, tmp_path, "quantize.static: {data: few}")
    (problem,) = caught.value.diagnostics
    assert problem.message == (
        "technique 'quantize.static' does not know the scheme 'u4-log', which backend 'npu' asks for"
    )
    assert problem.hint == "it knows u8-affine, s8-symmetric; use a technique that is made for 'npu'"
    assert problem.mark.line == 7
    found = graph(npu, tmp_path, "quantize.static: {data: few, scheme: u8-affine}")
    assert scheme(found, "quantize.static") == "u8-affine", "what is written stands"


@pytest.mark.parametrize(
    ("written", "hint"),
    [("u8-afine", "did you mean 'u8-affine'?"), ("log", "it knows u8-affine, s8-symmetric")],
)
def test_a_scheme_that_is_written_wrong(npu: ModuleType, tmp_path: Path, written: str, hint: str) -> None:
    with pytest.raises(CompressfileError) as caught:
        graph(npu, tmp_path, f"quantize.static: {{data: few, scheme: {written}}}")
    (problem,) = caught.value.diagnostics
    assert problem.message == f"technique 'quantize.static', parameter 'scheme': unknown scheme '{written}'"
    assert problem.hint == hint


def test_a_quantizer_called_by_hand_refuses_it_too() -> None:
    from cbuild_kit import check_scheme

    check_scheme("u8-affine", ("u8-affine",))
    with pytest.raises(UserError, match="the scheme 'u4-log' is unknown to this quantizer"):
        check_scheme("u4-log", ("u8-affine",))
    with pytest.raises(UserError, match="was not resolved"):
        check_scheme("auto", ("u8-affine",))
