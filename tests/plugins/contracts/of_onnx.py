"""Every technique on ONNX models, of the ONNX and the OpenVINO plugin, and the kind, keep the contract."""

from __future__ import annotations

import json

import onnx

from compressbuild.api.conformance import KindContract, MetricContract, TechniqueContract, artifact

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


class OfLayerErrors(OfTechnique):
    """A model beside what it was made from: here beside itself."""

    unfit_params = OTHER_DATA

    def inputs(self, place):
        return {"origin": artifact(subjects.onnx_model(), "onnx")}


globals().update(classes(OfLayerErrors, {"metrics.layer-errors": {"params": {"data": "test", "samples": 8}}}))


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


class OfIrLayerErrors(OfOpenVino):
    """A model beside the IR that it was made from: here beside itself."""

    unfit_params = OTHER_DATA

    def subject(self, place):
        from cbuild_openvino.artifact import read_onnx, write

        made = place / "ir"
        if not made.exists():
            made.mkdir(parents=True)
            write(read_onnx(subjects.onnx_model() / "model.onnx", place), made)
        return made

    def unfit(self, place):
        return ()

    def inputs(self, place):
        return {"origin": artifact(self.subject(place), "openvino-ir")}


globals().update(
    classes(OfIrLayerErrors, {"metrics.openvino-layer-errors": {"params": {"data": "test", "samples": 8}}})
)
globals().update(classes(OfExtract, {"extract.subgraph": {}}))


ROW = {"node": "fc", "op": "Gemm", "sqnr": 30.0, "own": 35.0, "lost": 0.01, "rounding": 0.0, "share": 1.0}


def layer_errors(place, row):
    made = place / "layer-errors"
    made.mkdir(parents=True)
    (made / "layers.json").write_text(json.dumps({"layers": {"logits": row}, "samples": 8}))
    return made


class TestLayerErrors(KindContract):
    kind = "layer-errors"
    preload = subjects.NUMBERS

    def subject(self, place):
        return layer_errors(place, ROW)


class TestLayerError(MetricContract):
    metric = "layer-error"
    kind = "layer-errors"
    preload = subjects.NUMBERS

    def subject(self, place):
        return layer_errors(place, ROW)

    def unfit(self, place):
        return [layer_errors(place, {"node": "fc"})]


class TestIrLayerError(TestLayerError):
    metric = "openvino-layer-error"


class TestOnnx(KindContract):
    kind = "onnx"
    preload = subjects.TORCH

    def subject(self, place):
        return subjects.onnx_model()
