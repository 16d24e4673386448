from __future__ import annotations

import digits
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.rewrite.params.cluster import ShareCluster
from cbuild_torch.rewrite.params.sharing import ShareLayers
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.train.params import Finetune

from compressbuild.api import UserError
from compressbuild.api.testing import make_context

SHARE = "cbuild_torch.rewrite.sharing:share"
LAYERS = ("encoder.layers.0", "encoder.layers.1")


def loaded(directory) -> torch.nn.Module:
    ctx = make_context(directory.with_name(directory.name + ".look"), factories=digits.FACTORIES)
    return load_model(ctx, directory)


def same(module) -> bool:
    first, second = (dict(module.get_submodule(name).named_parameters()) for name in LAYERS)
    return all(first[name] is second[name] for name in first)


def test_layers_share_and_training_keeps_and_mends_it(technique, trained_sequence):
    subject = trained_sequence("transformer")
    node = technique(SHARE, subject, ShareLayers(groups=(LAYERS,)))
    assert node.facts["parameters"] < 0.6 * node.facts["parameters_before"]
    assert (node.out / "weights.safetensors").stat().st_size < 0.6 * (subject / "weights.safetensors").stat().st_size
    assert same(loaded(node.out))
    tuned = technique("cbuild_torch.train.finetune:train", node.out, Finetune(data="train", epochs=8, lr=5e-3)).out
    assert same(loaded(tuned))
    assert (tuned / "weights.safetensors").stat().st_size == (node.out / "weights.safetensors").stat().st_size
    assert digits.accuracy(tuned) > max(digits.accuracy(node.out), digits.accuracy(subject) - 0.05)


def test_what_is_shared_at_first(technique, trained_sequence):
    subject = trained_sequence("transformer")
    before = [dict(loaded(subject).get_submodule(name).named_parameters()) for name in LAYERS]
    for init in ("mean", "first"):
        node = technique(SHARE, subject, ShareLayers(groups=(LAYERS,), init=init))
        for name, found in loaded(node.out).get_submodule(LAYERS[1]).named_parameters():
            wanted = before[0][name] if init == "first" else (before[0][name] + before[1][name]) / 2
            torch.testing.assert_close(found, wanted)


def test_convolution_blocks_keep_their_own_statistics(technique, trained):
    """Of the digits network, the two convolutions of the first block and their normalisations."""
    params = ShareLayers(groups=(("blocks.0.conv1", "blocks.0.conv2"), ("blocks.0.bn1", "blocks.0.bn2")))
    node = technique(SHARE, trained, params)
    block = loaded(node.out).blocks[0]
    assert block.conv1.weight is block.conv2.weight
    assert not torch.equal(block.bn1.running_mean, block.bn2.running_mean)
    tuned = technique("cbuild_torch.train.finetune:train", node.out, Finetune(data="train", epochs=3, lr=1e-3)).out
    assert digits.accuracy(tuned) > digits.accuracy(trained) - 0.03


def test_other_steps_after_it(technique, trained_sequence):
    shared = technique(SHARE, trained_sequence("transformer"), ShareLayers(groups=(LAYERS,))).out
    sparse = technique("cbuild_torch.prune.magnitude:prune", shared, PruneMagnitude()).out
    clustered = technique("cbuild_torch.rewrite.cluster:share", sparse, ShareCluster()).out
    assert same(loaded(clustered))
    assert (clustered / "weights.safetensors").stat().st_size < 0.4 * (shared / "weights.safetensors").stat().st_size
    exported = technique("cbuild_torch.to_onnx.export:export", clustered, ExportOnnx()).out
    assert digits.accuracy(exported) == digits.accuracy(clustered)


def test_what_does_not_fit_is_explained(technique, trained, trained_sequence):
    def fails(said: str, subject, *groups: tuple[str, ...]) -> str:
        with pytest.raises(UserError, match=said) as error:
            technique(SHARE, subject, ShareLayers(groups=groups))
        return error.value.hint or ""

    assert "equal names and shapes" in fails(
        "'blocks.1' cannot share with 'blocks.0'", trained, ("blocks.0", "blocks.1")
    )
    assert "stem" in fails("no module 'layers.0'", trained, ("layers.0", "layers.1"))
    fails("sharing needs two", trained, ("blocks.0",))
    fails("which overlaps it", trained, ("blocks.0", "blocks.0.conv1"))
    fails("'pool' has no parameters", trained, ("pool", "stem.2"))
    fails("'head' cannot share with 'rnn'", trained_sequence("gru"), ("rnn", "head"))
    fails("no groups", trained)
