"""Models of Hugging Face's transformers through the techniques, in the shapes that their own code gives them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import digits
import numpy as np
import onnx
import pytest
from cbuild_onnx.graph.params import OptimizeOnnx
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.heads import PruneHeads
from cbuild_torch.prune.params.layers import PruneLayers
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.prune.params.nm import PruneNm
from cbuild_torch.rewrite.params.activations import ReplaceActivation
from cbuild_torch.rewrite.params.cluster import ShareCluster
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank
from cbuild_torch.rewrite.params.sharing import ShareLayers
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from cbuild_torch.train.params import Distill

from compressbuild.api import Params, UserError
from compressbuild.api.testing import NodeRun, run_node

pytest.importorskip("transformers", reason="the models are those of transformers")

import hugging_face  # (it imports transformers)

FACTORIES = tuple(f"hugging_face:{name}" for name in ("bert", "distilbert", "gpt2", "spread"))
HEADS, LAYERS = "cbuild_torch.prune.heads:prune", "cbuild_torch.prune.depth:prune"
EXPORT, LOWRANK = "cbuild_torch.to_onnx.export:export", "cbuild_torch.rewrite.lowrank:factorize"

Technique = Callable[..., NodeRun]


@pytest.fixture
def apply(tmp_path: Path) -> Technique:
    numbers = iter(range(100))

    def apply(run: str, subject: Path, params: Params, **world: object) -> NodeRun:
        out = tmp_path / f"out-{next(numbers)}"
        datasets = {"train": "hugging_face:batches"}
        return digits.apply(run, subject, params, out, factories=FACTORIES, datasets=datasets, **world)

    return apply


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        factory = f"hugging_face:{name}"
        params = {"factory": factory, "args": {}, "weights": None, "inputs": hugging_face.INPUTS}
        return run_node("cbuild_torch.model.source:init", None, params, tmp_path / name, factories=(factory,)).out

    return make


def embeddings(directory: Path) -> np.ndarray:
    return digits.outputs(directory, hugging_face.feeds(), FACTORIES)["output"]


def edits(directory: Path) -> list[str]:
    return [edit["op"] for edit in json.loads((directory / "model.json").read_text())["edits"]]


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_heads_blocks_and_ranks_one_after_the_other(apply: Technique, model: Callable[[str], Path], name: str) -> None:
    by_loss = PruneHeads(ratio=0.5, criterion="gradient", data="train", loss="hugging_face:spread")
    heads = apply(HEADS, model(name), by_loss)
    assert (heads.facts["heads"], heads.facts["heads_before"]) == (6, 12)
    assert heads.facts["parameters_before"] - heads.facts["parameters"] == 6 * (4 * 32 * 8 + 3 * 8)
    blocks = apply(LAYERS, heads.out, PruneLayers(count=1, data="train"))
    assert (blocks.facts["blocks"], blocks.facts["blocks_before"]) == (2, 3)
    factored = apply(LOWRANK, blocks.out, FactorizeLowrank(ratio=0.4))
    assert factored.facts["macs"] < 0.7 * factored.facts["macs_before"]
    assert {"resize", "drop", "replace"} <= set(edits(factored.out))
    if name == "bert":
        _exports(apply, factored.out)


def _exports(apply: Technique, model: Path) -> None:
    """To what computes the same; the fusions of ONNX Runtime once left the domain of its operators out."""
    exported = apply(EXPORT, model, ExportOnnx()).out
    fused = apply(
        "cbuild_onnx.graph.optimize:optimize", exported, OptimizeOnnx(method="transformer", heads=4, hidden=32)
    )
    assert "com.microsoft.SkipLayerNormalization" in fused.facts["runtime_operators"]
    onnx.checker.check_model(fused.out / "model.onnx")
    for made in (exported, fused.out):
        found = digits.outputs(made, hugging_face.feeds())["output"]
        np.testing.assert_allclose(found, embeddings(model), atol=1e-4, rtol=1e-3)


def test_fewer_blocks_learn_to_embed_as_the_whole_model(apply: Technique, model: Callable[[str], Path]) -> None:
    whole = model("bert")
    short = apply(LAYERS, whole, PruneLayers(count=1, data="train")).out
    params = Distill(teacher="whole", data="train", epochs=20, lr=3e-3, batch_size=16, alpha=1.0, match="cosine")
    taught = apply("cbuild_torch.train.distill:distill", short, params, inputs={"whole": digits.as_input(whole)}).out

    def away(directory: Path) -> float:
        one, other = embeddings(whole), embeddings(directory)
        return float((1 - (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).mean())

    assert edits(taught) == edits(short)
    assert away(taught) < 0.5 * away(short)


def test_other_techniques_fit_bert(apply: Technique, model: Callable[[str], Path]) -> None:
    whole = model("bert")
    swapped = apply(
        "cbuild_torch.rewrite.activations:replace", whole, ReplaceActivation(map={"GELUActivation": "ReLU"})
    )
    assert swapped.facts["count"] == hugging_face.BLOCKS
    shared = ShareLayers(groups=(("model.encoder.layer.1", "model.encoder.layer.2"),))
    tied = apply("cbuild_torch.rewrite.sharing:share", swapped.out, shared)
    assert tied.facts["parameters"] < 0.75 * tied.facts["parameters_before"]
    thinner = apply("cbuild_torch.prune.channels:prune", swapped.out, PruneChannels(ratio=0.5))
    assert thinner.facts["macs"] < 0.8 * thinner.facts["macs_before"]
    palette = apply("cbuild_torch.rewrite.cluster:share", tied.out, ShareCluster(bits=4))
    assert palette.facts["values"] == 16
    assert np.isfinite(embeddings(palette.out)).all()


def test_gpt2_loses_blocks(apply: Technique, model: Callable[[str], Path]) -> None:
    short = apply(LAYERS, model("gpt2"), PruneLayers(count=1, by="last"))
    assert short.facts["blocks"] == 2
    assert np.isfinite(embeddings(short.out)).all()


@pytest.mark.parametrize(
    ("run", "params", "message"),
    [
        ("cbuild_torch.prune.magnitude:prune", PruneMagnitude(), "no weights to prune"),
        ("cbuild_torch.prune.nm:prune", PruneNm(), "no convolution or linear layer"),
        (LOWRANK, FactorizeLowrank(), "no linear or ungrouped convolution layer"),
        ("cbuild_torch.prune.channels:prune", PruneChannels(), "no layer is left to prune"),
        (
            "cbuild_torch.rewrite.cluster:share",
            ShareCluster(ignore=("model.wte.*", "model.wpe.*")),
            "no weights to share",
        ),
        (HEADS, PruneHeads(), "no attention heads to prune"),
    ],
)
def test_layers_that_are_not_torchs_are_refused_by_name(
    apply: Technique, model: Callable[[str], Path], run: str, params: Params, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        apply(run, model("gpt2"), params)
    if run == HEADS:
        assert "must be split in the factory" in (error.value.hint or "")
    elif not getattr(params, "ignore", ()):
        assert "12 of class Conv1D with 36864 weights" in (error.value.hint or "")


def test_layers_left_alone_are_named(
    apply: Technique, model: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = apply("cbuild_torch.rewrite.cluster:share", model("gpt2"), ShareCluster(bits=4))
    assert made.facts["tensors"] == 2  # the embeddings
    assert "left alone: layers that are not torch's own (12 of class Conv1D" in caplog.text


def test_quantization_aware_training_with_a_sequence_of_any_length(apply, model):
    """Positions end at ``max_position_embeddings``, which bounds the named axis."""
    subject = model("bert")
    world = {"inputs": {"teacher": digits.as_input(subject)}, "references": {"whole": "teacher"}}
    params = QuantizeQat(data="train", epochs=1, scheme="u8-affine", teacher="whole", alpha=1.0, match="cosine")
    node = apply("cbuild_torch.to_onnx.qat:quantize", subject, params, **world)
    assert node.facts["quantize_nodes"] > 10
    wanted, found = embeddings(subject), embeddings(node.out)
    longer = hugging_face.feeds(3, 12)
    assert digits.outputs(node.out, longer, FACTORIES)["output"].shape == (3, hugging_face.WIDTH)
    cosine = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.min() > 0.9
