"""Every backend that can be tried on a plain machine, and the kind it makes, keep the contract."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from compressbuild.api.conformance import BackendContract, KindContract, artifact
from compressbuild.api.conformance.contract import ParameterContract

from . import of_llm, subjects
from .classes import classes

ONE = {"threads": 1}
TF32 = {"tf32": {"device": "cuda"}}
SLOW = [pytest.mark.slow]  # the C++ compiler, twice
LANGUAGE = ("gguf", "onnxruntime-genai", "openvino-genai")
TORCH = ("executorch", "torch-inductor", "coreml")


class OfBackend(BackendContract):
    factories = subjects.FACTORIES
    datasets = subjects.DATASETS
    preload = subjects.TORCH
    twice = False
    raw = ("model.bin", "model.xml")  # OpenVINO needs nothing of what stands before the XML's first element
    environment = ("TORCHINDUCTOR_CACHE_DIR",)  # torch reads it, and the plugin sets it

    def subject(self, place):
        if self.backend in LANGUAGE:
            return artifact(of_llm.chat(hidden_size=64), "hf-model")  # GenAI's heads are multiples of 16
        return subjects.torch_model(subjects.SMALL) if self.backend in TORCH else subjects.onnx_model()

    def unfit(self, place):
        if self.backend in LANGUAGE:
            any_decoder = self.backend == "openvino-genai"
            return [artifact(of_llm.encoder() if any_decoder else of_llm.strange(), "hf-model")]
        return [subjects.torch_model(subjects.TWISTED) if self.backend in TORCH else subjects.strange_onnx()]


BACKENDS = {
    "onnxruntime": {
        "settings": ONE,
        "others": {"runtime": ">=1.17"},
        "beside": {"tf32": {"provider": "cuda"}, "cpu-fallback": {"provider": "cuda"}},
    },
    "onnxruntime-ort": {"settings": ONE},
    "openvino": {"settings": ONE},
    "executorch": {
        "settings": ONE,
        "others": {"data": "calibration"},
        "beside": {"data": {"precision": "int8", "data": "train"}},
    },
    "torch-inductor": {"settings": ONE, "beside": TF32, "pytestmark": SLOW},
    "coreml": {
        "others": {"data": "calibration"},
        "beside": {
            "data": {"weights": "int8", "activations": "int8", "data": "train"},
            "activations": {"weights": "int8", "data": "train"},
        },
    },
    "tensorrt-rtx": {"settings": {"compute-capability": "sm89"}},
    "tensorrt": {},
    "gguf": {"settings": {"pre-tokenizer": "gpt-2"}, "preload": of_llm.PRELOAD, "twice": True},
    "onnxruntime-genai": {
        "settings": {"precision": "int8"},
        "preload": of_llm.PRELOAD,
        "twice": True,
        "exempt": ("chat_template.jinja",),
        "raw": ("*.data",),  # weights
    },
    "openvino-genai": {
        "settings": {"precision": "int8"},
        "preload": of_llm.PRELOAD,
        "exempt": ("chat_template.jinja",),
        "raw": ("*.bin", "*.xml"),
    },
}
OF_BACKENDS = classes(OfBackend, BACKENDS)
globals().update(OF_BACKENDS)


class TestInductorSettings(ParameterContract):
    """What of the slow contract needs no compiler."""

    what = "backend"
    backend = "torch-inductor"
    params = ONE
    beside = TF32


class OfKind(KindContract):
    """What the contract of its backend compiled, or else compiles."""

    preload = subjects.TORCH
    raw = (*OfBackend.raw, "model.engine")  # which only its GPU can open
    environment = OfBackend.environment
    backend: str

    def needs(self):
        backend = OF_BACKENDS[f"Test_backend_{self.backend}"]()
        return (*super().needs(), *backend.needs())

    def subject(self, place):
        contract = OF_BACKENDS[f"Test_backend_{self.backend}"]
        if "_ran" not in vars(contract):
            home = Path(tempfile.mkdtemp(dir=subjects.place()))
            contract._ran = contract().run_both([home / name for name in ("subject", "first", "second")])
        return contract._ran.first.out


KINDS = {
    "onnxruntime-model": "onnxruntime",
    "ort-model": "onnxruntime-ort",
    "openvino-ir": "openvino",
    "executorch-program": "executorch",
    "aoti-package": "torch-inductor",
    "coreml-package": "coreml",
    "tensorrt-rtx-engine": "tensorrt-rtx",
    "tensorrt-engine": "tensorrt",
    "gguf-model": "gguf",
    "genai-model": "onnxruntime-genai",
    "openvino-genai-model": "openvino-genai",
}
SERVING = ("onnxruntime-genai", "openvino-genai")
MARKS = {"torch-inductor": {"pytestmark": SLOW}}
MARKS |= {name: {key: BACKENDS[name][key] for key in ("exempt", "raw")} for name in SERVING}
globals().update(classes(OfKind, {kind: {"backend": each, **MARKS.get(each, {})} for kind, each in KINDS.items()}))
