"""What the LiteRT plugin offers keeps the contract. Where its packages are not installed, its parameters do."""

from __future__ import annotations

from functools import cache

import digits
from cbuild_litert.params import ExportTflite, QuantizeTflite
from cbuild_litert.settings import EthosUSettings

from compressbuild.api.conformance import BackendContract, KindContract, TechniqueContract, artifact
from compressbuild.api.testing import run_node

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
    raw = ("model.tflite",)  # weights are most of it

    def subject(self, place):
        return tflite()

    def unfit(self, place):
        return [hollow()]


class Test_kind_tflite(KindContract):
    kind = "tflite"
    preload = PRELOAD
    raw = Test_backend_litert.raw

    def subject(self, place):
        return tflite()


@cache
def for_boards():
    params = QuantizeTflite(precision="int8", io="int8", data="calibration")
    out = subjects.place() / "boards.tflite"
    entry = artifact(tflite(), "tflite")
    return run_node("cbuild_litert.quantize:quantize", entry, params, out, datasets=subjects.DATASETS).out


class Test_backend_ethos_u(BackendContract):
    backend = "ethos-u"
    preload = ("numpy",)
    others = {"system": "Ethos_U55_Deep_Embedded", "memory": "Sram_Only"}
    beside = {"memory": {"system": "Ethos_U55_Deep_Embedded"}}

    def needs(self):
        return (*super().needs(), Test_technique_quantize_tflite().stack_needs)  # which makes the subject

    def subject(self, place):
        return for_boards()

    def unfit(self, place):
        return [hollow()]


class Test_kind_ethos_u_model(KindContract):
    kind = "ethos-u-model"
    preload = ("numpy",)
    raw = ("model.tflite",)

    def needs(self):
        return (*super().needs(), *Test_backend_ethos_u().needs())

    def subject(self, place):
        out = subjects.place() / "compiled"
        if not out.exists():
            run_node("cbuild_litert.vela:compile", artifact(for_boards(), "tflite"), EthosUSettings(), out)
        return out
