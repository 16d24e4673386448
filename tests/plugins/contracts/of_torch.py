"""Every technique of the torch plugin, and its kind, keep the contract."""

from __future__ import annotations

from compressbuild.api.conformance import KindContract, TechniqueContract

from . import subjects
from .classes import classes

IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]
EPOCH = {"data": "train", "epochs": 1}
PLAIN = (subjects.PLAIN,)
OTHER_DATA = ({"data": "larger"},)  # images that the model does not take


class OfTechnique(TechniqueContract):
    """``model``: if not the convolutional network. ``cannot``: factories of models that it cannot take."""

    factories = subjects.FACTORIES
    datasets = subjects.DATASETS
    preload = subjects.TORCH
    model = subjects.digits.FACTORY
    cannot: tuple[str, ...] = ()
    others = {"scheme": "s8-symmetric"}

    def subject(self, place):
        return subjects.torch_model(self.model)

    def unfit(self, place):
        return map(subjects.torch_model, self.cannot)

    def inputs(self, place):
        return {"teacher": subjects.teacher()} if "teacher" in self.params else {}

    @property
    def references(self):
        return {"base": "teacher"} if "teacher" in self.params else {}


TECHNIQUES = {
    "train": {"params": EPOCH, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "finetune": {"params": EPOCH, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "distill": {"params": {**EPOCH, "teacher": "base"}, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "prune.magnitude": {"cannot": PLAIN},
    "prune.channels": {
        "params": {"criterion": "taylor", "data": "train", "samples": 20},
        "cannot": PLAIN,
        "unfit_params": OTHER_DATA,
    },
    "prune.gradual": {"params": EPOCH | {"epochs": 2, "batch-size": 20}, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "prune.movement": {"params": EPOCH | {"epochs": 2, "batch-size": 20}, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "prune.nm": {"model": "transformer", "cannot": PLAIN},
    "prune.heads": {"model": "transformer", "cannot": PLAIN},
    "prune.layers": {"params": {"count": 1, "by": "last"}, "model": "transformer", "cannot": PLAIN},
    "prune.recurrent": {"model": "gru", "cannot": PLAIN},
    "factorize.lowrank": {"params": {"rank": 4}, "model": "transformer", "cannot": PLAIN},
    "fold.batchnorm": {"cannot": PLAIN},
    "replace.activation": {"params": {"map": {"GELU": "ReLU"}}, "model": "transformer", "cannot": PLAIN},
    "replace.depthwise": {"cannot": PLAIN},
    "share.cluster": {"params": {"bits": 2, "epochs": 1, "data": "train"}, "cannot": PLAIN, "unfit_params": OTHER_DATA},
    "share.layers": {
        "params": {"groups": [["encoder.layers.0", "encoder.layers.1"]]},
        "model": "transformer",
        "cannot": PLAIN,
    },
    "quantize.qat": {"params": {**EPOCH, "scheme": "u8-affine"}, "cannot": (subjects.TWISTED,), "twice": False},
    "export.onnx": {"cannot": (subjects.TWISTED,), "twice": False},
}
globals().update(classes(OfTechnique, TECHNIQUES))


class TestTorchModel(KindContract):
    kind = "torch-model"
    factories = subjects.FACTORIES
    preload = subjects.TORCH
    source = {"factory": subjects.digits.FACTORY, "args": {"width": 8}, "weights": None, "inputs": IMAGE}
