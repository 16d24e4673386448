"""Small artifacts for the contracts of first-party plugins, and one set of preloaded modules for most of them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import digits
import onnx
from cbuild_torch.to_onnx.params.export import ExportOnnx
from onnx import TensorProto, helper

from compressbuild.api.conformance import artifact
from compressbuild.api.work import WorkInput

# What judges arrays alone starts from a parent that is quick to fork; one with all the rest serves the others.
NUMBERS = ("numpy", "sacrebleu")
TORCH = (
    "torch",
    "torch._dynamo",
    "torch.export",
    "torch.onnx",
    "safetensors.torch",
    "torch_pruning",
    "torchao.quantization.pt2e.quantize_pt2e",
    "onnx",
    "onnxscript",
    "sklearn.datasets",
    "executorch.exir",
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "coremltools",
)
PLAIN = "contract_models:plain"  # a Flatten: nothing to train, to remove, to rewrite
TWISTED = "contract_models:twisted"  # control flow that depends on the data: nothing can trace it
SMALL = "contract_models:small"  # quick to compile
MODELS = (PLAIN, TWISTED, SMALL)
FACTORIES = (*digits.FACTORIES, *MODELS)
DATASETS = {
    **dict.fromkeys(("train", "calibration", "test"), "few_digits:load"),
    **{name: f"few_digits:{name}" for name in ("numbers", "larger", "words", "nothing")},
}


@cache
def place() -> Path:
    """Kept alive by :func:`_home` until the tests end."""
    return Path(_home().name)


@cache
def _home() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="contracts-")


@cache
def torch_model(factory: str = digits.FACTORY) -> Path:
    """Untrained: a small convolutional network, or ``transformer``, ``gru``, ``lstm``, or one of :data:`MODELS`."""
    name = factory if ":" in factory else f"sequence_models:{factory}"
    return digits.source(place() / factory.replace(":", "-"), width=8, factory=name)


@cache
def onnx_model(factory: str = digits.FACTORY) -> Path:
    out = place() / f"{factory.replace(':', '-')}.onnx"
    made = digits.apply(
        "cbuild_torch.to_onnx.export:export", torch_model(factory), ExportOnnx(), out, factories=FACTORIES
    )
    return made.out


@cache
def strange_onnx() -> Path:
    """A node of a domain that no runtime knows, on the images of the digits."""
    shape = ["batch", 1, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Wonder", ["image"], ["logits"], domain="org.nobody")],
        "strange",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("org.nobody", 1)]
    out = place() / "strange.onnx"
    out.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), out / "model.onnx")
    return out


def teacher() -> WorkInput:
    return artifact(torch_model(), "torch-model")
