"""Models that no technique was written for: each technique works on each, or says in one line why not and what would.

The fast tests are a cover: every technique and every model. ``slow`` is the whole product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import digits
import numpy as np
import onnx
import pytest
import unseen_torch
from cbuild_onnx.convert.params import ConvertBf16, ConvertFp16
from cbuild_onnx.graph.params import OptimizeOnnx
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeMixed, QuantizeStatic, QuantizeWeights
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.gradual import PruneGradual
from cbuild_torch.prune.params.heads import PruneHeads
from cbuild_torch.prune.params.layers import PruneLayers
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.prune.params.movement import PruneMovement
from cbuild_torch.prune.params.nm import PruneNm
from cbuild_torch.prune.params.recurrent import PruneRecurrent
from cbuild_torch.rewrite.params.activations import ReplaceActivation
from cbuild_torch.rewrite.params.batchnorm import FoldBatchnorm
from cbuild_torch.rewrite.params.cluster import ShareCluster
from cbuild_torch.rewrite.params.depthwise import ReplaceDepthwise
from cbuild_torch.rewrite.params.lowrank import FactorizeLowrank
from cbuild_torch.rewrite.params.sharing import ShareLayers
from cbuild_torch.to_onnx.params.export import ExportOnnx
from cbuild_torch.to_onnx.params.qat import QuantizeQat
from cbuild_torch.train.params import Distill, Finetune
from processor import NARROW
from safetensors.numpy import load_file

from compressbuild.api import Params, UserError, WorkDataset
from compressbuild.api.testing import NodeRun, run_node

ENCODERS = ("encoder", "encoder/pre", "encoder/seq", "encoder/pre-seq")
MODELS: Mapping[str, dict[str, Any]] = {
    **{name: {} for name in ("resnet", "resnext", "mobilenet", "two_inputs", "signal", "picture", "tied", "attention")},
    **{name: {} for name in ("temporal", "masked", "siamese")},
    "temporal/old": {"old": True},
    "encoder": {},
    "encoder/pre": {"norm_first": True},
    "encoder/seq": {"batch_first": False},
    "encoder/pre-seq": {"norm_first": True, "batch_first": False, "masked": False},
}
TEMPORAL = ("temporal", "temporal/old")
GROUPS = {
    **dict.fromkeys(TEMPORAL, ("blocks.1.conv1", "blocks.2.conv1")),
    "masked": ("wide", "narrow"),
    "siamese": ("encoder.0", "encoder.3"),
    **dict.fromkeys(("resnet", "resnext"), ("layer1.0.conv2", "layer1.1.conv2")),
    **dict.fromkeys(ENCODERS, ("encoder.layers.0", "encoder.layers.1")),
    **dict.fromkeys(("tied", "attention"), ("blocks.0", "blocks.1")),
    "mobilenet": ("features.0.expand", "features.1.expand"),
    "two_inputs": ("numbers.0", "joined.0"),
    "signal": ("down1", "down2"),
    "picture": ("last", "wide"),
}
TRAIN: dict[str, Any] = {"data": "data", "epochs": 1, "batch_size": 16}
STATIC: dict[str, Any] = {"data": "data", "scheme": "u8-affine"}
Effect = Callable[[dict[str, Any], Path], bool]


@dataclass(frozen=True)
class Case:
    """A technique; ``effect``: whether its facts and what it made show what it claims; ``refused``: model → a part of
    the message."""

    run: str
    params: Params
    effect: Effect
    refused: Mapping[str, str] = field(default_factory=dict)


def smaller(facts: dict[str, Any], made: Path) -> bool:
    return parameters(made) <= facts["parameters"] < facts["parameters_before"]


def fewer_macs(facts: dict[str, Any], made: Path) -> bool:
    return facts["macs"] < facts["macs_before"] and parameters(made) > 0


def fewer_bytes(facts: dict[str, Any], made: Path) -> bool:
    return size(made) < 1.1 * facts["bytes"] + 3000 and facts["bytes"] < facts["bytes_before"]


def half_zeros(facts: dict[str, Any], made: Path) -> bool:
    zeros = sum(int((value == 0).sum()) for name, value in load_file(made / "weights.safetensors").items())
    return facts["sparsity"] == pytest.approx(0.5, abs=0.01) and zeros >= facts["zeros"]


def trained(facts: dict[str, Any], made: Path) -> bool:
    return facts["steps"] == 3 and np.isfinite(facts["loss"])


def quantized(facts: dict[str, Any], made: Path) -> bool:
    return facts["quantize_nodes"] > 0


def reports(name: str) -> Effect:
    return lambda facts, made: facts[name] > 0


def parameters(made: Path) -> int:
    stored = load_file(made / "weights.safetensors")
    return sum(value.size for name, value in stored.items() if value.ndim and "running_" not in name)


def size(made: Path) -> int:
    return sum(path.stat().st_size for path in made.iterdir())


def of(names: tuple[str, ...], message: str) -> dict[str, str]:
    return dict.fromkeys(names, message)


def but(names: tuple[str, ...], message: str) -> dict[str, str]:
    return of(tuple(name for name in MODELS if name not in names), message)


NO_NORM = of((*ENCODERS, *TEMPORAL, "signal", "tied", "attention", "masked"), "no batch normalisation")
NO_BLOCKS = of(("two_inputs", "signal", "picture", "masked", "siamese"), "no blocks to drop")
NO_RELU = of((*TEMPORAL, "signal", "picture", "tied", "attention", "masked"), "'map: ReLU' is the class of no layer")
NO_KERNEL = but(("resnet", "picture", "siamese"), "no ungrouped k×k convolution")
UNEQUAL = of(("two_inputs", "signal", "picture", "masked", "siamese"), "cannot share with")
NO_BN = of(
    (*ENCODERS, *TEMPORAL, "signal", "picture", "tied", "attention", "masked"),
    "ranks by batch normalisation, of which the model has",
)
TORCH: Mapping[str, Case] = {
    "finetune": Case("train.finetune:train", Finetune(**TRAIN), trained),
    "distill": Case("train.distill:distill", Distill(teacher="teacher", **TRAIN), trained),
    "magnitude": Case("prune.magnitude:prune", PruneMagnitude(sparsity=0.5), half_zeros),
    "gradual": Case("prune.gradual:prune", PruneGradual(sparsity=0.5, **TRAIN), half_zeros),
    "movement": Case("prune.movement:prune", PruneMovement(sparsity=0.5, **TRAIN), half_zeros),
    "nm": Case("prune.nm:prune", PruneNm(), half_zeros),
    "channels": Case("prune.channels:prune", PruneChannels(ratio=0.5), smaller),
    "channels-global": Case("prune.channels:prune", PruneChannels(ratio=0.3, scope="global", round_to=4), smaller),
    "channels-taylor": Case(
        "prune.channels:prune",
        PruneChannels(criterion="taylor", data="data", steps=2, recover_epochs=1),
        smaller,
        {"signal": "criterion taylor cannot rank up: the loss does not depend on it"},
    ),
    "channels-bn": Case("prune.channels:prune", PruneChannels(criterion="bn-scale"), smaller, NO_BN),
    "heads": Case(
        "prune.heads:prune", PruneHeads(), smaller, but((*ENCODERS, "masked"), "no attention heads to prune")
    ),
    "layers": Case("prune.depth:prune", PruneLayers(count=1, data="data"), smaller, NO_BLOCKS),
    "recurrent": Case("prune.recurrent:prune", PruneRecurrent(), smaller, but((), "the model has no recurrent layer")),
    "lowrank": Case("rewrite.lowrank:factorize", FactorizeLowrank(ratio=0.3), fewer_macs),
    "foldbn": Case("rewrite.batchnorm:fold", FoldBatchnorm(), reports("folded"), NO_NORM),
    "activation": Case(
        "rewrite.activations:replace", ReplaceActivation(map={"ReLU": "GELU"}), reports("count"), NO_RELU
    ),
    "depthwise": Case("rewrite.depthwise:replace", ReplaceDepthwise(), fewer_macs, NO_KERNEL),
    "cluster": Case("rewrite.cluster:share", ShareCluster(bits=3), fewer_bytes),
    "cluster-trained": Case("rewrite.cluster:share", ShareCluster(bits=4, per_channel=True, **TRAIN), fewer_bytes),
    "sharing": Case("rewrite.sharing:share", ShareLayers(groups=()), smaller, UNEQUAL),
    "qat": Case("to_onnx.qat:quantize", QuantizeQat(scheme="u8-affine", **TRAIN), quantized),
}
NO_FUSION = but(
    (*ENCODERS, "two_inputs", "tied", "attention", "masked"), "no pattern of model type bert was found to fuse"
)
NO_LAYERNORM = but((*ENCODERS, "tied", "attention", "masked"), "nothing to smooth")
ONNX: Mapping[str, Case] = {
    "slim": Case("graph.optimize:optimize", OptimizeOnnx(method="slim"), reports("nodes")),
    "extended": Case("graph.optimize:optimize", OptimizeOnnx(method="extended"), reports("nodes")),
    "transformer": Case("graph.optimize:optimize", OptimizeOnnx(method="transformer"), reports("nodes"), NO_FUSION),
    "static": Case("quantize.static:quantize", QuantizeStatic(**STATIC), quantized),
    "static-s8": Case("quantize.static:quantize", QuantizeStatic(data="data", scheme="s8-symmetric"), quantized),
    "static-entropy": Case("quantize.static:quantize", QuantizeStatic(method="entropy", **STATIC), quantized),
    "static-smooth": Case("quantize.static:quantize", QuantizeStatic(smooth=0.5, **STATIC), quantized, NO_LAYERNORM),
    "mixed": Case("quantize.mixed:quantize", QuantizeMixed(metric="sqnr", min_sqnr=10, **STATIC), quantized),
    "dynamic": Case("quantize.dynamic:quantize", QuantizeDynamic(), reports("quantized")),
    "weights": Case("quantize.weights:quantize", QuantizeWeights(), fewer_bytes),
    "weights-gptq": Case("quantize.weights:quantize", QuantizeWeights(method="gptq", data="data"), fewer_bytes),
    "weights-8": Case(
        "quantize.weights:quantize", QuantizeWeights(bits=8, op_types=("Conv", "Gemm", "MatMul")), fewer_bytes
    ),
    "fp16": Case("convert.fp16:convert", ConvertFp16(), lambda facts, made: size(made) < 1.05 * facts["bytes"]),
    "bf16": Case("convert.bf16:convert", ConvertBf16(), reports("nodes")),
}


def factory(model: str) -> str:
    return model.partition("/")[0]


def world(model: str, form: str = "mapping") -> dict[str, Any]:
    dataset = WorkDataset(loader="unseen_torch:samples", args={"name": factory(model), "form": form})
    return {"factories": (f"unseen_torch:{factory(model)}",), "datasets": {"data": dataset}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An untrained model; made once."""

    @cache
    def make(model: str) -> Path:
        name = factory(model)
        inputs = unseen_torch.INPUTS.get(name, [unseen_torch.IMAGE])
        asked = {"factory": f"unseen_torch:{name}", "args": MODELS[model], "weights": None, "inputs": inputs}
        out = tmp_path_factory.mktemp("unseen") / "out"
        return run_node("cbuild_torch.model.source:init", None, asked, out, factories=(asked["factory"],)).out

    return make


@pytest.fixture(scope="module")
def exported(source: Callable[[str], Path]) -> Callable[[str], Path]:
    @cache
    def make(model: str) -> Path:
        return export(model, source(model))

    return make


def export(model: str, subject: Path) -> Path:
    """As ONNX; the step itself compares the outputs with torch's."""
    out = subject.with_name(subject.name + "-onnx")
    return apply("cbuild_torch.to_onnx.export:export", model, subject, ExportOnnx(), out).out


def apply(run: str, model: str, subject: Path, params: Params, out: Path, form: str = "mapping") -> NodeRun:
    more = {"inputs": {"teacher": digits.as_input(subject)}, "references": {"teacher": "teacher"}}
    return run_node(run, digits.as_input(subject), params, out, **world(model, form), **more)


def outputs(model: str, directory: Path) -> dict[str, np.ndarray]:
    feeds = next(unseen_torch.samples(factory(model)))[0]
    return digits.outputs(directory, feeds, world(model)["factories"])


def holds(case: Case, plugin: str, model: str, subject: Path, out: Path, form: str = "mapping") -> Path | None:
    """Apply a technique: what it made, which runs and shows the effect; None where it is rightly refused."""
    run, params = f"{plugin}.{case.run}", case.params
    if isinstance(params, ShareLayers):
        params = ShareLayers(groups=(GROUPS[model],))
    if model in case.refused:
        with pytest.raises(UserError) as caught:
            apply(run, model, subject, params, out, form)
        assert case.refused[model] in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.hint
        return None
    node = apply(run, model, subject, params, out, form)
    assert case.effect(node.facts, node.out), node.facts
    if not isinstance(params, ConvertBf16):  # which ONNX Runtime cannot run
        before, after = outputs(model, subject), outputs(model, node.out)
        assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
        assert all(np.isfinite(value).all() for value in after.values())
        if isinstance(params, FoldBatchnorm | OptimizeOnnx):
            for name, value in before.items():
                np.testing.assert_allclose(after[name], value, rtol=0, atol=3e-4 * np.abs(value).max())
    return node.out


COVER = [
    ("resnet", "channels"),
    ("resnext", "channels-global"),
    ("mobilenet", "channels-bn"),
    ("encoder/pre", "channels"),
    ("signal", "channels"),
    ("picture", "channels-taylor"),
    ("two_inputs", "channels-taylor"),
    ("signal", "channels-taylor"),
    ("tied", "channels-taylor"),
    ("attention", "channels"),
    ("encoder/seq", "heads"),
    ("encoder/pre-seq", "heads"),
    ("attention", "heads"),
    ("resnet", "layers"),
    ("mobilenet", "layers"),
    ("tied", "layers"),
    ("picture", "layers"),
    ("resnext", "recurrent"),
    ("picture", "lowrank"),
    ("tied", "lowrank"),
    ("picture", "foldbn"),
    ("signal", "foldbn"),
    ("encoder/pre", "activation"),
    ("tied", "activation"),
    ("resnet", "depthwise"),
    ("mobilenet", "depthwise"),
    ("tied", "cluster"),
    ("attention", "sharing"),
    ("two_inputs", "sharing"),
    ("tied", "nm"),
    ("attention", "magnitude"),
    ("encoder", "movement"),
    ("signal", "gradual"),
    ("resnext", "cluster-trained"),
    ("temporal", "magnitude"),
    ("temporal", "channels"),
    ("temporal/old", "lowrank"),
    ("temporal/old", "cluster"),
    ("masked", "channels"),
    ("siamese", "foldbn"),
]


@pytest.mark.parametrize(("model", "name"), COVER)
def test_it_works_or_says_why_not(source, tmp_path: Path, model: str, name: str) -> None:
    holds(TORCH[name], "cbuild_torch", model, source(model), tmp_path / "out")


def pruned_groups(tmp_path: Path, ratio: float, **args: Any) -> list[int]:
    """Channels that are left of 16 and 32."""
    asked = {"factory": "unseen_torch:grouped", "args": args, "inputs": [unseen_torch.IMAGE]}
    subject = run_node(
        "cbuild_torch.model.source:init", None, asked, tmp_path / "in", factories=(asked["factory"],)
    ).out
    made = apply(
        "cbuild_torch.prune.channels:prune", "grouped", subject, PruneChannels(ratio=ratio), tmp_path / "out"
    ).out
    return [len(value) for name, value in load_file(made / "weights.safetensors").items() if "conv" in name]


@pytest.mark.parametrize(
    ("args", "left"),
    [({"groups": 4}, [8, 8, 16, 16]), ({"groups": 16}, [16, 16, 16, 16]), ({"frozen": True}, [8, 8, 16, 16])],
)
def test_channels_of_groups_are_counted_over_all(tmp_path: Path, args: dict[str, Any], left: list[int]) -> None:
    assert pruned_groups(tmp_path, 0.5, **args) == left


def test_what_removes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no channel can be removed: widths must stay multiples of 8 .*: 'conv1' has 16"
    ):
        pruned_groups(tmp_path, 0.1)


@pytest.mark.parametrize("form", ["mapping", "tuple"])
@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_batches_of_two_inputs(source, tmp_path: Path, name: str, form: str) -> None:
    holds(TORCH[name], "cbuild_torch", "two_inputs", source("two_inputs"), tmp_path / "out", form)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("resnext", ("channels", "lowrank", "foldbn")),
        ("mobilenet", ("layers", "channels")),
        ("encoder/pre", ("heads", "activation", "lowrank")),
        ("tied", ("layers", "cluster")),
        ("picture", ("foldbn", "depthwise")),
        ("temporal/old", ("channels", "magnitude")),
    ],
)
def test_several_after_each_other_then_exported(source, tmp_path: Path, model: str, names: tuple[str, ...]) -> None:
    made = source(model)
    for name in names:
        made = holds(TORCH[name], "cbuild_torch", model, made, tmp_path / name)
    export(model, made)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("tied", "static-entropy"),
        ("tied", "mixed"),
        ("attention", "static-smooth"),
        ("attention", "transformer"),
        ("encoder/pre", "dynamic"),
        ("signal", "static-s8"),
        ("signal", "transformer"),
        ("mobilenet", "weights-8"),
        ("mobilenet", "static-smooth"),
        ("two_inputs", "weights-gptq"),
        ("two_inputs", "fp16"),
        ("two_inputs", "slim"),
    ],
)
def test_exported_it_works_or_says_why_not(exported, tmp_path: Path, model: str, name: str) -> None:
    holds(ONNX[name], "cbuild_onnx", model, exported(model), tmp_path / "out")


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_a_causal_mask_has_no_scale(exported, tmp_path: Path, method: str) -> None:
    """Its minus infinity is in no range: scores beside it would all become equal."""
    subject = exported("tied")
    params = QuantizeStatic(method=method, reduce_range=NARROW, **STATIC)
    node = apply("cbuild_onnx.quantize.static:quantize", "tied", subject, params, tmp_path / "out")
    graph = onnx.load(node.out / "model.onnx").graph
    makers = {name: made.op_type for made in graph.node for name in made.output}
    softmaxes = [made for made in graph.node if made.op_type == "Softmax"]
    assert len(softmaxes) == 2
    assert all(makers[made.input[0]] != "DequantizeLinear" for made in softmaxes)
    (wanted,), (found,) = outputs("tied", subject).values(), outputs("tied", node.out).values()
    assert np.abs(found - wanted).mean() < 0.03 * np.abs(wanted).mean()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", TORCH)
def test_every_technique_on_every_model(source, tmp_path: Path, model: str, name: str) -> None:
    made = holds(TORCH[name], "cbuild_torch", model, source(model), tmp_path / "out")
    if made is not None and digits.kind_of(made) == "torch-model":
        export(model, made)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ONNX)
def test_every_onnx_technique_on_every_model(exported, tmp_path: Path, model: str, name: str) -> None:
    holds(ONNX[name], "cbuild_onnx", model, exported(model), tmp_path / "out")
