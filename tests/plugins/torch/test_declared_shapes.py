"""The shapes that an exported file declares are those that it computes, at every size."""

from __future__ import annotations

import digits
import numpy as np
import onnx
import torch
from cbuild_onnx.quantize.params import QuantizeStatic
from cbuild_torch.to_onnx.params.export import ExportOnnx
from torch import Tensor, nn

from compressbuild.api.testing import run_node

FACTORY = "test_declared_shapes:tagger"
INPUTS = [["left", ["batch", "here", 4], "float32"], ["right", ["batch", "there", 4], "float32"]]


class Tagger(nn.Module):
    """Two sequences through recurrent layers, whose lengths torch's exporter cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.GRU(4, 8, batch_first=True) for _ in range(2))
        self.head = nn.Linear(16, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        x, y = self.one(left)[0], self.two(right)[0]
        mixed = (x @ y.transpose(1, 2)).softmax(-1) @ y
        return self.head(torch.cat([x, mixed], -1))


def tagger() -> nn.Module:
    return Tagger()


def feeds(here: int, there: int, batch: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(here)
    return {
        name: rng.standard_normal((batch, size, 4)).astype(np.float32)
        for name, size in (("left", here), ("right", there))
    }


def batches():
    yield feeds(12, 9, 16), np.zeros(16, np.int64)


def test_no_size_of_the_example_is_declared(tmp_path):
    asked = {"factory": FACTORY, "args": {}, "weights": None, "inputs": INPUTS}
    start = run_node("cbuild_torch.model.source:init", None, asked, tmp_path / "in", factories=(FACTORY,)).out
    made = digits.apply(
        "cbuild_torch.to_onnx.export:export", start, ExportOnnx(), tmp_path / "onnx", factories=(FACTORY,)
    ).out
    (output,) = onnx.load(made / "model.onnx").graph.output
    assert [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim] == ["batch", "here", 5]
    params = QuantizeStatic(data="own", scheme="u8-affine")
    world = {"datasets": {"own": "test_declared_shapes:batches"}}
    small = digits.apply("cbuild_onnx.quantize.static:quantize", made, params, tmp_path / "int8", **world).out
    for here, there in ((12, 9), (5, 16), (1, 2)):  # with the runtime's own plan of memory
        given = feeds(here, there)
        wanted = next(iter(digits.outputs(start, given, (FACTORY,)).values()))
        found = next(iter(digits.outputs(small, given).values()))
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 0.5 * np.abs(wanted).max()
