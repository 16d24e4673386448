from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.attention import split
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.heads import PruneHeads
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune, Train
from safetensors.torch import load_file
from torch import nn

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

HEADS = "cbuild_torch.prune.heads:prune"
FINETUNE = "cbuild_torch.train.finetune:train"


def weights(directory):
    return load_file(directory / "weights.safetensors")


def edits(directory):
    return [edit["op"] for edit in json.loads((directory / "model.json").read_text())["edits"]]


def module(directory, *factories):
    return load_model(make_context(directory.with_name("load"), factories=factories or digits.FACTORIES), directory)


def images(count=5):
    return {"image": np.random.default_rng(1).standard_normal((count, 1, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_split_attention_computes_what_torchs_does(bias, batch_first):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 4, bias=bias, batch_first=batch_first, kdim=12, vdim=8).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = split(layer)
    shapes = [(3, 5), (3, 7), (3, 7)] if batch_first else [(5, 3), (7, 3), (7, 3)]
    q, k, v = (torch.randn(*shape, width) for shape, width in zip(shapes, (16, 12, 8), strict=True))
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 5:] = True
    for masks in (
        {},
        {"key_padding_mask": padding},
        {"attn_mask": torch.ones(5, 7, dtype=torch.bool).triu(1)},
        {"attn_mask": torch.randn(5, 7), "key_padding_mask": torch.zeros(3, 7).masked_fill(padding, -torch.inf)},
    ):
        for more in ({"need_weights": False}, {}, {"average_attn_weights": False}):
            wanted, found = layer(q, k, v, **masks, **more), ours(q, k, v, **masks, **more)
            torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=1e-4)
            assert (found[1] is None) == (wanted[1] is None)
            if found[1] is not None:
                torch.testing.assert_close(found[1], wanted[1], atol=1e-5, rtol=1e-4)
    alone = layer(torch.ones(5, 16), torch.ones(7, 12), torch.ones(7, 8))
    for one, other in zip(alone, ours(torch.ones(5, 16), torch.ones(7, 12), torch.ones(7, 8)), strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-4)


def test_heads_leave_the_tensors_of_torchs_encoder_and_accuracy_comes_back(technique, trained_sequence):
    model = trained_sequence("transformer")
    node = technique(HEADS, model, PruneHeads(ratio=0.5, scope="local"))
    assert (node.facts["heads"], node.facts["heads_before"]) == (4, 8)
    made = weights(node.out)
    for layer in (0, 1):
        prefix = f"encoder.layers.{layer}.self_attn"
        assert made[f"{prefix}.query.weight"].shape == (16, 32)
        assert made[f"{prefix}.out_proj.weight"].shape == (32, 16)
    removed = 2 * (4 * 32 * 16 + 3 * 16)
    assert node.facts["parameters"] == node.facts["parameters_before"] - removed
    assert node.facts["parameters"] == sum(value.numel() for value in made.values())
    tuned = technique(FINETUNE, node.out, Finetune(data="train", epochs=3, lr=2e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(model) - 0.03


def test_the_model_exports_and_agrees(technique, trained_sequence):
    made = technique(HEADS, trained_sequence("transformer"), PruneHeads(ratio=0.5)).out
    out = technique("cbuild_torch.to_onnx.export:export", made, ExportOnnx()).out
    found, wanted = digits.outputs(out, images())["output"], digits.outputs(made, images())["output"]
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=1e-3)


def test_by_gradient_the_heads_that_matter_stay(technique, toy):
    """One head of the last layer is cut off from the output: the norm of its weights is large, its importance zero."""
    start = toy("bert", layers=1)
    model = technique(FINETUNE, start, Train(data="train", epochs=6, lr=5e-3)).out
    path = model / "weights.safetensors"
    state = weights(model)
    state["layer.0.attention.output.dense.weight"][:, 8:16] = 0
    state["layer.0.attention.self.query.weight"][8:16] *= 50
    from safetensors.torch import save_file

    save_file(state, path)
    base = digits.outputs(model, images(), ("pruning_models:bert",))["output"]
    params = PruneHeads(ratio=0.25, criterion="gradient", data="train", samples=64)
    node = technique(HEADS, model, params)
    assert node.facts["kept"] == {"layer.0.attention.self": [0, 2, 3]}
    found = digits.outputs(node.out, images(), ("pruning_models:bert",))["output"]
    np.testing.assert_allclose(found, base, atol=1e-5, rtol=1e-4)
    by_weight = technique(HEADS, model, PruneHeads(ratio=0.25)).facts["kept"]
    assert 1 in by_weight["layer.0.attention.self"]


def test_bert_keeps_its_own_layers_and_attributes(technique, toy):
    model = toy("bert")
    params = PruneHeads(ratio=0.5, scope="global", overrides={"layer.0.*": 0.75}, ignore=("layer.1.*",))
    node = technique(HEADS, model, params)
    loaded = module(node.out, "pruning_models:bert")
    first, second, third = (layer.attention.self for layer in loaded.layer)
    assert (first.num_attention_heads, first.all_head_size, first.attention_head_size) == (1, 8, 8)
    assert (second.num_attention_heads, third.num_attention_heads) == (4, 2)
    assert loaded.layer[0].attention.output.dense.in_features == 8
    assert edits(node.out) == ["set", "set", "set", "set", "resize"]


def test_at_least_one_head_stays_in_each_layer(technique, toy):
    kept = technique(HEADS, toy("bert"), PruneHeads(ratio=0.95)).facts["kept"]
    assert [len(heads) for heads in kept.values()] == [1, 1, 1]


def test_twice_and_after_magnitude_pruning(technique, trained_sequence):
    sparse = technique(
        "cbuild_torch.prune.magnitude:prune", trained_sequence("transformer"), PruneMagnitude(sparsity=0.6)
    )
    once = technique(HEADS, sparse.out, PruneHeads(ratio=0.25, scope="local"))
    twice = technique(HEADS, once.out, PruneHeads(ratio=0.34, scope="local"))
    assert (once.facts["heads"], twice.facts["heads"]) == (6, 4)
    name = "encoder.layers.0.self_attn.query.weight"
    before = weights(twice.out)[name]
    after = weights(technique(FINETUNE, twice.out, Finetune(data="train", epochs=1)).out)[name]
    assert before.shape == (16, 32)
    assert (before == 0).float().mean() > 0.3
    assert torch.equal(before == 0, after == 0)
    assert not torch.equal(before, after)


def test_attention_over_another_sequence_with_masks(technique, toy):
    node = technique(HEADS, toy("crossed"), PruneHeads(ratio=0.5))
    assert node.facts["heads"] == 2
    assert weights(node.out)["attention.key.weight"].shape == (8, 8)


def test_it_loads_bit_equal_in_a_new_process(technique, trained_sequence, python, tmp_path):
    made = technique(HEADS, trained_sequence("transformer"), PruneHeads(ratio=0.5)).out
    np.save(tmp_path / "images.npy", images()["image"])
    code = (
        "import digits, numpy as np, pathlib, sys\n"
        "made, here = map(pathlib.Path, sys.argv[1:])\n"
        "np.save(here / 'logits.npy', digits.outputs(made, {'image': np.load(here / 'images.npy')})['output'])"
    )
    python("-c", code, made, tmp_path, cwd=tmp_path, hash_seed=5)
    assert np.array_equal(np.load(tmp_path / "logits.npy"), digits.outputs(made, images())["output"])


def test_what_does_not_fit_is_refused_with_what_would(technique, toy, trained):
    with pytest.raises(UserError, match="no attention heads to prune") as error:
        technique(HEADS, trained, PruneHeads())
    assert "prune.channels" in (error.value.hint or "")
    with pytest.raises(UserError, match="criterion gradient needs labelled data"):
        technique(HEADS, toy("bert"), PruneHeads(criterion="gradient"))
    with pytest.raises(UserError, match="'ignore: attn' matches nothing"):
        technique(HEADS, toy("bert"), PruneHeads(ignore=("attn",)))
    with pytest.raises(
        UserError, match="dropping heads changes more than zeroing them does: output 'output' is off by"
    ):
        technique(HEADS, toy("shared_heads"), PruneHeads())
