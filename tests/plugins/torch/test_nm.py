from __future__ import annotations

import digits
import numpy as np
import onnx
import pytest
import torch
from cbuild_torch.prune.nm import n_of_m
from cbuild_torch.prune.params.nm import PruneNm
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune
from onnx import numpy_helper
from safetensors.torch import load_file

from compressbuild.api import UserError

NM = "cbuild_torch.prune.nm:prune"


def largest_run(weight: np.ndarray, m: int = 4) -> int:
    """Most non-zeros in any ``m`` neighbours along axis 1."""
    last = np.moveaxis(weight, 1, -1)
    return int((last.reshape(-1, m) != 0).sum(1).max())


def test_the_largest_two_of_four_stay_along_the_input():
    weight = torch.tensor([[1.0, -4.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    assert n_of_m(weight, 2, 4).tolist() == [[False, True, True, False, True, True, False, False]]
    convolution = torch.randn(3, 8, 3, 3)
    mask = n_of_m(convolution, 1, 4)
    assert (mask.view(3, 2, 4, 3, 3).sum(2) == 1).all()
    kept = (convolution.abs() * mask).view(3, 2, 4, 3, 3).amax(2)
    assert torch.equal(kept, convolution.abs().view(3, 2, 4, 3, 3).amax(2))


def test_every_product_of_the_exported_graph_is_two_of_four(technique, trained):
    node = technique(NM, trained, PruneNm())
    assert node.facts["skipped"] == ["stem.0.weight"]  # one channel
    assert node.facts["sparsity"] == 0.5
    tuned = technique("cbuild_torch.train.finetune:train", node.out, Finetune(data="train", epochs=2)).out
    assert digits.accuracy(tuned) > digits.accuracy(trained) - 0.02
    graph = onnx.load(technique("cbuild_torch.to_onnx.export:export", tuned, ExportOnnx()).out / "model.onnx").graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    seen = 0
    for layer in graph.node:
        if layer.op_type in ("Conv", "Gemm"):
            transposed = layer.op_type == "Conv" or any(a.name == "transB" and a.i for a in layer.attribute)
            weight = weights[layer.input[1]] if transposed else weights[layer.input[1]].T
            if weight.shape[1] > 1:
                assert largest_run(weight) == 2
                seen += 1
    assert seen == 8


def test_attention_and_its_projections(technique, trained_sequence):
    made = load_file(technique(NM, trained_sequence("transformer"), PruneNm(n=1)).out / "weights.safetensors")
    for name in ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"):
        assert largest_run(made[f"encoder.layers.0.{name}"].numpy()) == 1


def test_what_does_not_fit_is_refused(technique, toy, trained):
    with pytest.raises(UserError, match=r"multiple of 7 inputs \(1.weight has 64, 3.weight has 64\)") as error:
        technique(NM, toy("mlp"), PruneNm(m=7))
    assert "prune.magnitude" in (error.value.hint or "")
    with pytest.raises(UserError, match="'n: 4' of 'm: 4' leaves every weight"):
        technique(NM, trained, PruneNm(n=4))
    with pytest.raises(UserError, match="'ignore: nothing' matches nothing"):
        technique(NM, trained, PruneNm(ignore=("nothing",)))
