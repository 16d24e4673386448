"""Every technique of the torch plugin, and its kind, keep the contract."""

from __future__ import annotations

import contracts
import pytest
from cbuild_torch.manifest import compressbuild_techniques

from compressbuild.api.conformance import KindContract, TechniqueContract

IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]
EPOCH = {"data": "train", "epochs": 1}
# technique → its parameters, and the model if not the convolutional one
GIVEN = {
    "train": (EPOCH, None),
    "finetune": (EPOCH, None),
    "distill": ({**EPOCH, "teacher": "base"}, None),
    "prune.magnitude": ({}, None),
    "prune.channels": ({"criterion": "taylor", "data": "train", "samples": 20}, None),
    "prune.gradual": (EPOCH | {"epochs": 2, "batch-size": 20}, None),
    "prune.movement": (EPOCH | {"epochs": 2, "batch-size": 20}, None),
    "prune.nm": ({}, "transformer"),
    "prune.heads": ({}, "transformer"),
    "prune.layers": ({"count": 1, "by": "last"}, "transformer"),
    "prune.recurrent": ({}, "gru"),
    "factorize.lowrank": ({"rank": 4}, "transformer"),
    "fold.batchnorm": ({}, None),
    "replace.activation": ({"map": {"GELU": "ReLU"}}, "transformer"),
    "replace.depthwise": ({}, None),
    "share.cluster": ({"bits": 2, "epochs": 1, "data": "train"}, None),
    "share.layers": ({"groups": [["encoder.layers.0", "encoder.layers.1"]]}, "transformer"),
    "quantize.qat": ({**EPOCH, "scheme": "u8-affine"}, None),
    "export.onnx": ({}, None),
}


SLOW = ("export.onnx", "quantize.qat")


class OfTechnique(TechniqueContract):
    factories = contracts.FACTORIES
    datasets = contracts.DATASETS
    preload = contracts.TORCH
    model: str | None = None
    others = {"scheme": "s8-symmetric"}

    def subject(self, place):
        return contracts.torch_model(self.model) if self.model else contracts.torch_model()

    def inputs(self, place):
        return {"teacher": contracts.teacher()} if "teacher" in self.params else {}

    @property
    def references(self):
        return {"base": "teacher"} if "teacher" in self.params else {}


for name, (params, model) in GIVEN.items():
    attributes = {"technique": name, "params": params, "model": model, "twice": name not in SLOW}
    globals()[f"Test_{name}"] = type(f"Test_{name}", (OfTechnique,), attributes)


class TestTorchModel(KindContract):
    kind = "torch-model"
    factories = contracts.FACTORIES
    preload = contracts.TORCH
    source = {"factory": contracts.digits.FACTORY, "args": {"width": 8}, "weights": None, "inputs": IMAGE}


@pytest.mark.parametrize("record", compressbuild_techniques(), ids=lambda record: record.name)
def test_each_technique_has_a_contract(record) -> None:
    assert record.name in GIVEN
