"""Every technique of the ONNX plugin, and its kind, keep the contract."""

from __future__ import annotations

import contracts
import onnx
import pytest
from cbuild_onnx.manifest import compressbuild_techniques

from compressbuild.api.conformance import KindContract, TechniqueContract

STATIC = {"data": "calibration", "scheme": "u8-affine"}
# technique → its parameters
GIVEN = {
    "quantize.dynamic": {},
    "quantize.static": STATIC,
    "quantize.mixed": {**STATIC, "layers": ["Gemm"], "max-drop": 0.5},
    "quantize.weights": {"method": "hqq"},
    "convert.bf16": {"tolerance": 0.5},
    "convert.fp16": {},
    "extract.subgraph": {"outputs": ["relu"]},
    "optimize.onnx": {},
}


class OfTechnique(TechniqueContract):
    factories = contracts.FACTORIES
    datasets = contracts.DATASETS
    preload = contracts.TORCH
    others = {"scheme": "s8-symmetric"}

    def subject(self, place):
        if self.technique == "extract.subgraph":
            type(self).params = {"outputs": [_inner(contracts.onnx_model())]}
        return contracts.onnx_model()


def _inner(model) -> str:
    """The name of the first node's output."""
    return onnx.load(model / "model.onnx").graph.node[0].output[0]


for name, params in GIVEN.items():
    globals()[f"Test_{name}"] = type(f"Test_{name}", (OfTechnique,), {"technique": name, "params": params})


class TestOnnx(KindContract):
    kind = "onnx"
    preload = contracts.TORCH

    def subject(self, place):
        return contracts.onnx_model()


@pytest.mark.parametrize("record", compressbuild_techniques(), ids=lambda record: record.name)
def test_each_technique_has_a_contract(record) -> None:
    assert record.name in GIVEN
