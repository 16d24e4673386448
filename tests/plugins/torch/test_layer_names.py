"""Layers keep the names of their torch modules: in the file, quantized, compiled, and where time is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digits
import onnx
import pytest
import torch
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic, QuantizeWeights
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from cbuild_torch.to_onnx.params.export import ExportOnnx
from processor import NARROW
from torch import Tensor, nn

from compressbuild.api import Profiling, UserError
from compressbuild.api.testing import run_node

EXPORT = "cbuild_torch.to_onnx.export:export"
DYNAMIC = "cbuild_onnx.quantize.dynamic:quantize"


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(8, 24)
        self.down = nn.Linear(24, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


class Net(nn.Module):
    """A convolution with a BatchNorm, blocks on rows, and a dictionary as output, for which export wraps it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        rows = self.stem(image).mean(1)
        for block in self.blocks:
            rows = block(rows)
        return {"logits": self.head(rows.flatten(1))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("names")
    source = digits.source(place / "source", factory="test_layer_names:Net")
    world: dict[str, Any] = {"factories": ("test_layer_names:Net",)}
    return digits.apply(EXPORT, source, ExportOnnx(), place / "onnx", **world).out


def layers(directory: Path, *types: str) -> dict[str, str]:
    """Name of each node of some types, without what torch calls it → the weight that it reads."""
    graph = onnx.load(directory / "model.onnx").graph
    made_by = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        if node.op_type in types:
            weight = node.input[1]
            while weight in made_by:
                weight = made_by[weight].input[0]
            found[node.name.rpartition("/")[0]] = weight
    return found


MODULES = ["stem.0", "blocks.0.up", "blocks.0.down", "blocks.1.up", "blocks.1.down", "head"]


def test_each_layer_has_its_modules_name_and_its_parameters(exported: Path) -> None:
    found = layers(exported, "Conv", "MatMul", "Gemm")
    assert found == {name: f"{name}.weight" for name in MODULES}
    module = Net()
    shapes = {t.name: sorted(t.dims) for t in onnx.load(exported / "model.onnx").graph.initializer}
    for name in MODULES:
        assert shapes[f"{name}.weight"] == sorted(module.get_submodule(name).weight.shape)


def test_quantized_and_compiled(exported: Path, tmp_path: Path) -> None:
    static = QuantizeStatic(data="calibration", scheme="u8-affine", reduce_range=NARROW, samples=64)
    made = digits.apply("cbuild_onnx.quantize.static:quantize", exported, static, tmp_path / "static").out
    assert layers(made, "Conv", "MatMul", "Gemm") == {name: f"{name}.weight_quantized" for name in MODULES}
    compiled = run_node("cbuild_onnxruntime.compile:compile", made, OnnxRuntimeSettings(), tmp_path / "ort").out
    names = [node.name for node in onnx.load(compiled / "model.onnx").graph.node]
    for name in MODULES:
        assert any(each.startswith(f"{name}/") for each in names), name
    blocks = digits.apply("cbuild_onnx.quantize.weights:quantize", exported, QuantizeWeights(), tmp_path / "weights")
    assert set(layers(blocks.out, "MatMulNBits")) == set(MODULES[1:])


def test_globs_name_modules_or_nodes(exported: Path, tmp_path: Path) -> None:
    (down,) = (
        node.name.rpartition("/")[2]
        for node in onnx.load(exported / "model.onnx").graph.node
        if node.name.startswith("blocks.1.down/")
    )
    for number, (pattern, excluded) in enumerate((("blocks.*.down/*", 2), ("blocks.1.down/*", 1), (down, 1))):
        params = QuantizeDynamic(weights="int8", exclude=(pattern,))
        node = digits.apply(DYNAMIC, exported, params, tmp_path / str(number))
        assert node.facts["excluded"] == excluded, pattern
    with pytest.raises(UserError, match="matches no node"):
        digits.apply(DYNAMIC, exported, QuantizeDynamic(weights="int8", exclude=("down",)), tmp_path / "none")


def test_the_profile_speaks_of_modules(exported: Path, tmp_path: Path) -> None:
    found = run_node("cbuild_onnx.model.profile:profile", exported, Profiling(), tmp_path / "profile").facts
    names = [row["name"] for row in found["operators"]]
    assert set(MODULES) <= {name.rpartition("/")[0] for name in names}
