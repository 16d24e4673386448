"""What the LiteRT plugin offers keeps the contract. Where its packages are not installed, its parameters do."""

from __future__ import annotations

from functools import cache

import digits
from cbuild_litert.params import ExportTflite

from compressbuild.api.conformance import BackendContract, KindContract, TechniqueContract

from . import subjects

PRELOAD = ("torch", "torch._dynamo", "torch.export", "safetensors.torch", "numpy", "sklearn.datasets")


@cache
def tflite():
    out = subjects.place() / "digits.tflite"
    return digits.apply(
        "cbuild_litert.export:export", subjects.torch_model(), ExportTflite(), out, factories=subjects.FACTORIES
    ).out


@cache
def hollow():
    """The identifier of the format, and nothing behind it."""
    out = subjects.place() / "hollow"
    out.mkdir()
    (out / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    return out


class Test_technique_export_tflite(TechniqueContract):
    technique = "export.tflite"
    factories = subjects.FACTORIES
    datasets = subjects.DATASETS
    preload = PRELOAD
    others = {"sizes": {"batch": 2}}
    unfit_params = ({"sizes": {"nowhere": 2}},)

    def subject(self, place):
        return subjects.torch_model()

    def unfit(self, place):
        return [subjects.torch_model(subjects.TWISTED)]


class Test_technique_quantize_tflite(TechniqueContract):
    technique = "quantize.tflite"
    datasets = subjects.DATASETS
    preload = PRELOAD
    params = {"precision": "int8", "data": "calibration"}
    others = {"data": "train"}
    refuses = ({"precision": "int8"}, {"precision": "fp16", "io": "int8"}, {"precision": "int3"}, {})
    unfit_params = ({"data": "larger"},)

    def subject(self, place):
        return tflite()

    def unfit(self, place):
        return [hollow()]


class Test_backend_litert(BackendContract):
    backend = "litert"
    preload = PRELOAD

    def subject(self, place):
        return tflite()

    def unfit(self, place):
        return [hollow()]


class Test_kind_tflite(KindContract):
    kind = "tflite"
    preload = PRELOAD

    def subject(self, place):
        return tflite()
