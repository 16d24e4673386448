from __future__ import annotations

import json

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.model.palette import pack, unpack
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.rewrite.params.cluster import ShareCluster
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

CLUSTER = "cbuild_torch.rewrite.cluster:share"


def weights(directory) -> dict[str, torch.Tensor]:
    ctx = make_context(directory.with_name(directory.name + ".look"), factories=digits.FACTORIES)
    return {n: p.detach() for n, p in load_model(ctx, directory).named_parameters() if p.dim() > 1}


@given(st.integers(1, 256), st.booleans(), st.tuples(st.integers(1, 9), st.integers(1, 70)), st.integers(0, 99))
def test_packing_loses_nothing(count, channels, shape, seed):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(count).astype(np.float32)
    tensor = torch.from_numpy(generator.choice(values, shape))
    edits = [{"op": "palette", "parameters": {"w": {"channels": channels, "shape": list(shape), "bits": 8}}}]
    packed, known = pack({"w": tensor, "b": torch.ones(2)}, edits)
    restored = unpack(packed, known)
    assert torch.equal(restored["w"], tensor)
    assert set(restored) == {"w", "b"}


@pytest.mark.parametrize(("bits", "share"), [(2, 0.12), (4, 0.22), (8, 0.5)])
def test_it_is_stored_smaller(technique, trained, bits, share):
    node = technique(CLUSTER, trained, ShareCluster(bits=bits))
    files = [directory / "weights.safetensors" for directory in (node.out, trained)]
    assert files[0].stat().st_size < share * files[1].stat().st_size
    assert node.facts["bytes"] == files[0].stat().st_size
    assert max(len(weight.unique()) for weight in weights(node.out).values()) <= 2**bits


def test_four_bits_keep_the_accuracy_and_training_mends_two(technique, trained):
    assert digits.accuracy(technique(CLUSTER, trained, ShareCluster()).out) > digits.accuracy(trained) - 0.02
    plain = technique(CLUSTER, trained, ShareCluster(bits=2))
    tuned = technique(CLUSTER, trained, ShareCluster(bits=2, data="train", lr=1e-3))
    assert digits.accuracy(tuned.out) > max(digits.accuracy(plain.out), digits.accuracy(trained) - 0.04)
    assert tuned.facts["bytes"] == plain.facts["bytes"]
    assert max(len(weight.unique()) for weight in weights(tuned.out).values()) <= 4


def test_a_palette_for_each_channel_is_closer(technique, trained):
    def error(**params: object) -> float:
        found = weights(technique(CLUSTER, trained, ShareCluster(bits=3, **params)).out)
        return sum(float((found[name] - weight).square().sum()) for name, weight in weights(trained).items())

    assert error(per_channel=True) < 0.95 * error()
    assert error(init="density") != error()


@pytest.mark.parametrize("name", ["transformer", "gru", "lstm"])
def test_attention_and_recurrent_weights_too(technique, trained_sequence, name):
    subject = trained_sequence(name)
    node = technique(CLUSTER, subject, ShareCluster(bits=4, data="train", epochs=1))
    assert digits.accuracy(node.out) > digits.accuracy(subject) - 0.04
    wanted = {"transformer": "encoder.layers.0.self_attn.in_proj_weight"}.get(name, "rnn.weight_hh_l0")
    assert len(weights(node.out)[wanted].unique()) <= 16
    technique("cbuild_torch.to_onnx.export:export", node.out, ExportOnnx())


def test_zeros_of_a_pruned_model_stay(technique, trained):
    sparse = technique("cbuild_torch.prune.magnitude:prune", trained, PruneMagnitude(sparsity=0.7)).out
    node = technique(CLUSTER, sparse, ShareCluster(bits=4, data="train", epochs=1))
    for name, weight in weights(sparse).items():
        assert torch.equal(weight == 0, weights(node.out)[name] == 0)


def test_edits_before_and_after(technique, trained):
    """Clustered after a structural edit; trained after that, the palette is given up rather than lied about."""
    slim = technique("cbuild_torch.prune.channels:prune", trained, PruneChannels(ratio=0.5)).out
    shared = technique(CLUSTER, slim, ShareCluster(bits=4)).out
    again = technique(CLUSTER, shared, ShareCluster(bits=3)).out
    assert max(len(weight.unique()) for weight in weights(again).values()) <= 8
    tuned = technique("cbuild_torch.train.finetune:train", shared, Finetune(data="train", epochs=1)).out
    assert not [edit for edit in json.loads((tuned / "model.json").read_text())["edits"] if edit["op"] == "palette"]
    assert digits.accuracy(tuned) > digits.accuracy(shared)


def test_overrides_and_ignored_tensors(technique, trained):
    params = ShareCluster(bits=2, overrides={"stem.*": 6}, ignore=("classify.*",))
    found = weights(technique(CLUSTER, trained, params).out)
    assert 32 < len(found["stem.0.weight"].unique()) <= 64
    assert torch.equal(found["classify.weight"], weights(trained)["classify.weight"])
    with pytest.raises(UserError, match="'ignore: nothing' matches nothing"):
        technique(CLUSTER, trained, ShareCluster(ignore=("nothing",)))
    with pytest.raises(UserError, match="no weights to share"):
        technique(CLUSTER, trained, ShareCluster(ignore=("*",)))


def test_a_damaged_palette_is_named():
    edits = [{"op": "palette", "parameters": {"w": {"channels": False, "shape": [4, 4], "bits": 2}}}]
    with pytest.raises(ValueError, match="the palette of 'w' is damaged"):
        unpack({"w:palette": torch.zeros(1, 4)}, edits)
    with pytest.raises(ValueError, match="the palette of 'w' is damaged"):
        unpack({"w:palette": torch.zeros(1, 4), "w:indices": torch.zeros(1, dtype=torch.uint8)}, edits)
