"""Every technique on ONNX models, of the ONNX and the OpenVINO plugin, and the kind, keep the contract."""

from __future__ import annotations

import onnx

from compressbuild.api.conformance import KindContract, TechniqueContract

from . import subjects
from .classes import classes

STATIC = {"data": "calibration", "scheme": "u8-affine"}
OTHER_DATA = ({"data": "larger"},)  # images that the model does not take


class OfTechnique(TechniqueContract):
    factories = subjects.FACTORIES
    datasets = subjects.DATASETS
    preload = subjects.TORCH
    others = {"scheme": "s8-symmetric"}

    def subject(self, place):
        return subjects.onnx_model()

    def unfit(self, place):
        return [subjects.strange_onnx()]


class OfExtract(OfTechnique):
    unfit_params = ({"outputs": ["nowhere"]},)

    @property
    def params(self):
        first = onnx.load(subjects.onnx_model() / "model.onnx").graph.node[0]
        return {"outputs": [first.output[0]]}

    def unfit(self, place):
        return ()


TECHNIQUES = {
    "quantize.dynamic": {},
    "quantize.static": {"params": STATIC, "unfit_params": OTHER_DATA},
    "quantize.mixed": {"params": {**STATIC, "layers": ["Gemm"], "max-drop": 0.5}, "unfit_params": OTHER_DATA},
    "quantize.weights": {"params": {"method": "hqq"}},
    "convert.bf16": {"params": {"tolerance": 0.5}},
    "convert.fp16": {},
    "optimize.onnx": {},
}
globals().update(classes(OfTechnique, TECHNIQUES))


class OfOpenVino(OfTechnique):
    """OpenVINO numbers all the nodes that one process makes, so a second call gives other names."""

    twice = False
    environment = ("CI", "NNCF_CI")  # set while the libraries are imported, which keeps them from reporting their use


OPENVINO = {
    "openvino.quantize": {
        "params": {"data": "calibration", "samples": 20},
        "unfit_params": ({"data": "larger"}, {"smooth": 0.5}, {"exclude": ["nowhere"]}),
    },
    "openvino.compress": {"unfit_params": ({"mode": "int4-sym", "awq": True},)},
}
globals().update(classes(OfOpenVino, OPENVINO))
globals().update(classes(OfExtract, {"extract.subgraph": {}}))


class TestOnnx(KindContract):
    kind = "onnx"
    preload = subjects.TORCH

    def subject(self, place):
        return subjects.onnx_model()
