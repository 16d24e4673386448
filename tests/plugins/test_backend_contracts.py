"""Every backend that can be tried on a plain machine, and the kind it makes, keep the contract."""

from __future__ import annotations

import contracts
import pytest

from compressbuild.api.conformance import BackendContract
from compressbuild.registry import discover

# backend → its settings
GIVEN = {
    "onnxruntime": {"threads": 1},
    "onnxruntime-ort": {"threads": 1},
    "openvino": {"threads": 1},
    "executorch": {"threads": 1},
    "torch-inductor": {"threads": 1},
    "coreml": {},
    "tensorrt-rtx": {"compute-capability": "sm89"},
    "tensorrt": {},
}
OTHERS = {
    "executorch": {"data": "calibration"},
}
BESIDE = {
    "onnxruntime": {"tf32": {"provider": "cuda"}, "cpu-fallback": {"provider": "cuda"}},
    "executorch": {"data": {"precision": "int8", "data": "train"}},
    "torch-inductor": {"tf32": {"device": "cuda"}},
}
# What torch itself reads, and the plugin sets.
VARIABLES = ("TORCHINDUCTOR_CACHE_DIR",)
TORCH = ("executorch", "torch-inductor", "coreml")


class OfBackend(BackendContract):
    factories = contracts.FACTORIES
    datasets = contracts.DATASETS
    preload = contracts.TORCH
    twice = False
    raw = ("model.bin", "model.xml")  # OpenVINO needs nothing of what stands before the XML's first element
    environment = VARIABLES

    def subject(self, place):
        return contracts.torch_model() if self.backend in TORCH else contracts.onnx_model()


for name, settings in GIVEN.items():
    given = {"backend": name, "settings": settings, "others": OTHERS.get(name, {}), "beside": BESIDE.get(name, {})}
    globals()[f"Test_{name}"] = type(f"Test_{name}", (OfBackend,), given)


@pytest.mark.parametrize("name", sorted(discover(cache=None).backends))
def test_each_backend_has_a_contract(name: str) -> None:
    assert name in GIVEN
