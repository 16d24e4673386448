"""A fault planted in the step that makes an artifact is caught by the technique's, or the backend's, own check.

Each case first runs without a fault, so that what catches it is not there anyway. ``TABLE``: what is planted where,
and what the check says of it: an error, or a concern, which build, report and ``show`` warn of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import digits
import mutants as m
import pytest
import torch
from cbuild_coreml.settings import CoreMlSettings
from cbuild_executorch.settings import ExecuTorchSettings
from cbuild_inductor.settings import InductorSettings
from cbuild_onnx.convert.params import ConvertBf16, ConvertFp16
from cbuild_onnx.graph.params import ExtractSubgraph, OptimizeOnnx
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeMixed, QuantizeStatic, QuantizeWeights
from cbuild_onnxruntime.settings import OnnxRuntimeSettings, OrtFormatSettings
from cbuild_openvino.quantize.params import OpenVinoCompress, OpenVinoQuantize
from cbuild_openvino.settings import OpenVinoSettings
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
from cbuild_torch.train.params import Distill, Finetune, Train

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun
from compressbuild.registry import discover

EXEMPT = {
    "prune.llm-layers": "its faults are planted in tests/plugins/llm/test_llm_layers.py, on models of several families",
    "prune.llm-weights": "its faults are planted in tests/plugins/llm/test_llm_weights.py",
    "prune.llm-width": "its faults are planted in tests/plugins/llm/test_llm_width.py",
    "finetune.llm": "its faults are planted in tests/plugins/llm/test_llm_training.py",
    "distill.llm": "the same",
    "record.logits": "the same",
    "tokenize.choices": "it has no model to compare; its ids are looked at in tests/plugins/llm/test_llm_choice.py",
    "quantize.llm": "its faults are planted in tests/plugins/llm/test_llm_quantize.py",
    "gguf": "its faults are planted in tests/plugins/gguf/test_gguf_backend.py",
    "onnxruntime-genai": "its faults are planted in tests/plugins/llm_runtimes/test_llm_runtimes.py",
    "openvino-genai": "the same",
    "export.tflite": "it runs in an environment of its own: tests/plugins/litert/test_litert_model.py",
    "quantize.tflite": "the same",
    "litert": "the same",
    "ethos-u": "it compiles for microcontrollers only, where nothing of it can run",
    "qnn": "it compiles for Qualcomm's chips only, where nothing of it can run",
    "vllm": "it compiles for a server only, where nothing of it can run",
    "tokenize.text": "it has no model to compare; its ids are the tokenizer's in tests/plugins/llm/test_llm_scores.py",
    "tensorrt": "it compiles on NVIDIA GPUs only; its parity check is the others'",
    "tensorrt-rtx": "its engines run on NVIDIA GPUs only; its parity check is the others'",
}
TORCH = "cbuild_torch."
ONNX = "cbuild_onnx."


@dataclass(frozen=True)
class Case:
    """``subject``: name of a fixture, or of a sequence model. ``facts``: of the run that are not to be there."""

    subject: str
    run: str
    params: Any
    world: dict[str, Any] = field(default_factory=dict)


def training(**options: Any) -> dict[str, Any]:
    return {"data": "few", "epochs": 2, "batch_size": 16, **options}


CASES = {
    "train": Case("untrained", f"{TORCH}train.finetune:train", Train(**training(lr=1e-2))),
    "finetune": Case("untrained", f"{TORCH}train.finetune:train", Finetune(**training(lr=1e-2))),
    "distill": Case(
        "pruned", f"{TORCH}train.distill:distill", Distill(teacher="teacher", alpha=1.0, **training(lr=3e-3))
    ),
    "prune.channels": Case("trained", f"{TORCH}prune.channels:prune", PruneChannels(ratio=0.5)),
    "prune.channels recovered": Case(
        "trained",
        f"{TORCH}prune.channels:prune",
        PruneChannels(ratio=0.5, steps=2, recover_epochs=1, data="few", recover_batch_size=16),
    ),
    "prune.heads": Case("transformer", f"{TORCH}prune.heads:prune", PruneHeads(ratio=0.5)),
    "prune.layers": Case("transformer", f"{TORCH}prune.depth:prune", PruneLayers(drop=(0,))),
    "prune.magnitude": Case("trained", f"{TORCH}prune.magnitude:prune", PruneMagnitude(sparsity=0.5)),
    "prune.nm": Case("trained", f"{TORCH}prune.nm:prune", PruneNm()),
    "prune.recurrent": Case("gru", f"{TORCH}prune.recurrent:prune", PruneRecurrent()),
    "prune.recurrent weights": Case("gru", f"{TORCH}prune.recurrent:prune", PruneRecurrent(mode="weights")),
    "prune.gradual": Case("trained", f"{TORCH}prune.gradual:prune", PruneGradual(**training())),
    "prune.movement": Case("trained", f"{TORCH}prune.movement:prune", PruneMovement(**training())),
    "fold.batchnorm": Case("trained", f"{TORCH}rewrite.batchnorm:fold", FoldBatchnorm()),
    "factorize.lowrank": Case("trained", f"{TORCH}rewrite.lowrank:factorize", FactorizeLowrank(ratio=0.5)),
    "replace.depthwise": Case("trained", f"{TORCH}rewrite.depthwise:replace", ReplaceDepthwise(multiplier=1)),
    "replace.activation": Case(
        "transformer", f"{TORCH}rewrite.activations:replace", ReplaceActivation(map={"GELU": "ReLU"})
    ),
    "share.cluster": Case("trained", f"{TORCH}rewrite.cluster:share", ShareCluster()),
    "share.layers": Case(
        "transformer",
        f"{TORCH}rewrite.sharing:share",
        ShareLayers(groups=(("encoder.layers.0", "encoder.layers.1"),)),
    ),
    "export.onnx": Case("trained", f"{TORCH}to_onnx.export:export", ExportOnnx()),
    "quantize.qat": Case(
        "trained", f"{TORCH}to_onnx.qat:quantize", QuantizeQat(**training(epochs=1, scheme="u8-affine"))
    ),
    "quantize.static": Case(
        "exported", f"{ONNX}quantize.static:quantize", QuantizeStatic(data="few", scheme="u8-affine")
    ),
    "quantize.mixed": Case("exported", f"{ONNX}quantize.mixed:quantize", QuantizeMixed(data="few", scheme="u8-affine")),
    "quantize.dynamic": Case("transformer onnx", f"{ONNX}quantize.dynamic:quantize", QuantizeDynamic()),
    "quantize.weights": Case("transformer onnx", f"{ONNX}quantize.weights:quantize", QuantizeWeights(block_size=16)),
    "convert.fp16": Case("exported", f"{ONNX}convert.fp16:convert", ConvertFp16()),
    "convert.bf16": Case("exported", f"{ONNX}convert.bf16:convert", ConvertBf16()),
    "optimize.onnx": Case("exported", f"{ONNX}graph.optimize:optimize", OptimizeOnnx()),
    "extract.subgraph": Case("exported", f"{ONNX}graph.subgraph:extract", ExtractSubgraph(outputs=("output",))),
    "openvino.quantize": Case("exported", "cbuild_openvino.quantize.quantize:quantize", OpenVinoQuantize(data="few")),
    "openvino.compress": Case("transformer onnx", "cbuild_openvino.quantize.compress:compress", OpenVinoCompress()),
    "onnxruntime": Case("exported", "cbuild_onnxruntime.compile:compile", OnnxRuntimeSettings(threads=1)),
    "onnxruntime-ort": Case("exported", "cbuild_onnxruntime.flat:compile", OrtFormatSettings(threads=1)),
    "openvino": Case("exported", "cbuild_openvino.compile:compile", OpenVinoSettings(threads=1)),
    "executorch": Case("trained", "cbuild_executorch.compile:compile", ExecuTorchSettings(threads=1)),
    "executorch int8": Case(
        "trained", "cbuild_executorch.compile:compile", ExecuTorchSettings(threads=1, precision="int8", data="few")
    ),
    "coreml int8": Case(
        "trained",
        "cbuild_coreml.compile:compile",
        CoreMlSettings(weights="int8", activations="int8", data="few", weight_threshold=100),
    ),
    "torch-inductor": Case("trained", "cbuild_inductor.compile:compile", InductorSettings(threads=1)),
}

OPTIMISE = f"{TORCH}train.optimise:"
TRAINED = {  # of every technique that trains
    "weights not updated": (m.returned(f"{OPTIMISE}make_optimizer", m.no_step), "changed no weight"),
    "a truncated training": (m.returned(f"{OPTIMISE}_Run._groups", m.one_batch), r"after 1 of \d+ steps"),
}
WRONG_MODEL = {  # written to the ONNX file
    "a wrong scale": (m.written(m.wrong_scale), "differs|damaged the model|another model|only .* dB"),
    "permuted classes": (m.written(m.permuted_classes), "differs|damaged the model|another model|only .* dB"),
    "a dropped bias": (m.written(m.dropped_bias), "differs|damaged the model|another model|only .* dB"),
    "swapped channels": (m.written(m.swapped_channels), "differs|damaged the model|another model|only .* dB"),
    "a transposed weight": (m.written(m.transposed), "differs|damaged the model|another model|only .* dB"),
}
POINTS = {"a wrong zero point": (m.written(m.wrong_zero_point), "differs|damaged the model|another model|only .* dB")}


def pick(table: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: table[name] for name in names}


def read_wrong(place: str, *, says: str = "parity", when: Callable[..., bool] = lambda _: True) -> dict[str, Any]:
    faults = {"a wrong scale": m.wrong_scale, "permuted classes": m.permuted_classes, "a dropped bias": m.dropped_bias}
    return {name: (m.read_with(place, fault, when), says) for name, fault in faults.items()}


def traced_wrong(place: str, *, says: str = "parity") -> dict[str, Any]:
    faults = {"a wrong scale": m.scaled, "permuted classes": m.rolled, "dropped biases": m.unbiased}
    return {name: (m.traced(place, fault), says) for name, fault in faults.items()}


def made_wrong(place: str, says: str) -> dict[str, Any]:
    faults = {"a wrong scale": m.other_values, "permuted rows": m.rows_rolled, "a dropped bias": m.without_bias}
    return {name: (m.returned(place, fault), says) for name, fault in faults.items()}


def spoilt_step(step: Any, *args: Any) -> Any:
    """Channel pruning that damages a layer that it narrows."""
    removal = step(*args)
    m.rolled(args[1])
    return removal


def unbiased_step(step: Any, *args: Any) -> Any:
    removal = step(*args)
    m.unbiased(args[1])
    return removal


def zeroed_too_much(zero: Any, weights: Any, masks: Any) -> Any:
    facts = zero(weights, masks)
    with torch.no_grad():
        next(iter(weights.values())).mul_(2)
    return facts


def shifted_keep(keep: Any, layer: Any, edited: Any, heads: list[int]) -> None:
    """The neighbours of the heads to keep."""
    keep(layer, edited, sorted((head + 1) % layer.count for head in heads))


def unbiased_keep(keep: Any, layer: Any, edited: Any, heads: list[int]) -> None:
    keep(layer, edited, heads)
    m.without_bias(layer.output)


def scaled_keep(keep: Any, layer: Any, edited: Any, heads: list[int]) -> None:
    keep(layer, edited, heads)
    with torch.no_grad():
        layer.output.weight.mul_(2)


def other_block(take_out: Any, edited: Any, names: Any, sparse: Any) -> None:
    take_out(edited, [name.replace("0", "1") for name in names], sparse)


def rolled_classes(loss: Any, targets: Any, *args: Any, **kwargs: Any) -> Any:
    wrong = {name: replace(each, known=each.known.roll(1, -1)) for name, each in targets.items()}
    return loss(wrong, *args, **kwargs)


def swapped_gates(state: Any) -> Any:
    return {n: v.roll(v.shape[0] // 3, 0) if n.endswith("weight_hh_l0") else v for n, v in state.items()}


def no_biases(state: Any) -> Any:
    return {name: torch.zeros_like(value) if "bias" in name else value for name, value in state.items()}


def other_order(tie: Any, module: Any, names: Any) -> None:
    tie(module, list(reversed(list(names))))


def other_activation(made: Any) -> Any:
    return torch.nn.Tanh()


def rolled_cluster(cluster: Any, weight: Any, *args: Any, **kwargs: Any) -> Any:
    numbers = cluster(weight, *args, **kwargs)
    with torch.no_grad():
        weight.copy_(weight.roll(1, 0))
    return numbers


def scaled_cluster(cluster: Any, weight: Any, *args: Any, **kwargs: Any) -> Any:
    numbers = cluster(weight, *args, **kwargs)
    with torch.no_grad():
        weight.mul_(1.5)
    return numbers


def masked_wrong(module: str, *, says: str = "took a weight") -> dict[str, Any]:
    return {
        "the wrong weights": (m.returned(f"{module}:lowest", m.inverted), says),
        "half of the zeros": (m.returned(f"{module}:lowest", m.halved), "made .* zeros of"),
        "a wrong scale": (m.around(f"{module}:zero", zeroed_too_much), "more than zeros"),
    }


CHANGED = "changes more than|is not the model with"
TABLE: dict[str, dict[str, tuple[m.Plant, str]]] = {
    "train": {
        **TRAINED,
        "a loss that is climbed": (
            m.returned(f"{TORCH}train.finetune:task_loss", m.uphill),
            "the loss .* rose|diverged",
        ),
    },
    "finetune": TRAINED,
    "distill": {
        **TRAINED,
        "swapped classes": (m.around(f"{TORCH}train.distill:soft_loss", rolled_classes), "agrees .* less"),
    },
    "prune.channels": {
        "permuted classes": (m.around(f"{TORCH}prune.channels:_step", spoilt_step), CHANGED),
        "dropped biases": (m.around(f"{TORCH}prune.channels:_step", unbiased_step), CHANGED),
    },
    "prune.channels recovered": TRAINED,
    "prune.heads": {
        "a swapped head": (m.around(f"{TORCH}model.head_layers:HeadLayer.keep", shifted_keep), CHANGED),
        "a dropped bias": (m.around(f"{TORCH}model.head_layers:HeadLayer.keep", unbiased_keep), CHANGED),
        "a wrong scale": (m.around(f"{TORCH}model.head_layers:HeadLayer.keep", scaled_keep), CHANGED),
    },
    "prune.layers": {"a swapped layer": (m.around(f"{TORCH}prune.depth:take_out", other_block), CHANGED)},
    "prune.magnitude": masked_wrong(f"{TORCH}prune.magnitude"),
    "prune.nm": {
        "the wrong weights": (
            m.returned(f"{TORCH}prune.nm:n_of_m", lambda mask: mask.roll(1, 1)),
            "larger than one it kept|left more than 2 of 4",
        ),
        "all weights of a layer": (
            m.returned(f"{TORCH}prune.nm:n_of_m", lambda mask: torch.ones_like(mask)),
            "left more than 2 of 4",
        ),
        "a wrong scale": (m.around(f"{TORCH}prune.nm:zero", zeroed_too_much), "more than zeros"),
    },
    "prune.recurrent": {
        "swapped gates": (m.returned(f"{TORCH}prune.recurrent:cut", swapped_gates), CHANGED),
        "dropped biases": (m.returned(f"{TORCH}prune.recurrent:cut", no_biases), CHANGED),
    },
    "prune.recurrent weights": masked_wrong(f"{TORCH}prune.recurrent"),
    "prune.gradual": {
        **TRAINED,
        "half of the zeros": (
            m.around(f"{TORCH}prune.gradual:zero", lambda zero, weights, masks: zero(weights, m.halved(masks))),
            "made .* zeros of",
        ),
    },
    "prune.movement": {
        **TRAINED,
        "half of the zeros": (
            m.around(f"{TORCH}prune.gradual:zero", lambda zero, weights, masks: zero(weights, m.halved(masks))),
            "made .* zeros of",
        ),
    },
    "fold.batchnorm": made_wrong(f"{TORCH}rewrite.batchnorm:_folded", "folding changes output"),
    "factorize.lowrank": made_wrong(f"{TORCH}rewrite.lowrank:_factors", "layers that replace"),
    "replace.depthwise": {
        name: (m.returned(f"{TORCH}rewrite.depthwise:_separable", lambda pair, f=fault: (f(pair[0]), pair[1])), says)
        for name, fault, says in (
            ("a wrong scale", m.other_values, "layers that replace"),
            ("permuted rows", m.rows_rolled, "layers that replace"),
        )
    },
    "replace.activation": {
        "another activation": (m.returned(f"{TORCH}rewrite.activations:_made", other_activation), "became Tanh"),
    },
    "share.cluster": {
        "swapped channels": (m.around(f"{TORCH}rewrite.cluster:_cluster", rolled_cluster), "nearest|another model"),
        "a wrong scale": (m.around(f"{TORCH}rewrite.cluster:_cluster", scaled_cluster), "nearest|another model"),
    },
    "share.layers": {
        "a swapped layer": (m.around(f"{TORCH}rewrite.sharing:tie", other_order), "other values"),
        "no mean": (m.around(f"{TORCH}rewrite.sharing:_average", lambda average, blocks: None), "other values"),
    },
    "export.onnx": WRONG_MODEL,
    "quantize.qat": {
        **TRAINED,
        **pick(WRONG_MODEL, "a wrong scale", "permuted classes", "a dropped bias"),
        **POINTS,
        "normalisation not folded": (
            m.around(f"{TORCH}to_onnx.quantizer:_affine", lambda affine, *args: tuple(v * 2 for v in affine(*args))),
            "normalisation folded",
        ),
    },
    "quantize.static": {**WRONG_MODEL, **POINTS},
    "quantize.mixed": {**pick(WRONG_MODEL, "a wrong scale", "permuted classes"), **POINTS},
    "quantize.dynamic": {**pick(WRONG_MODEL, "a wrong scale", "permuted classes"), **POINTS},
    "quantize.weights": pick(WRONG_MODEL, "a wrong scale", "permuted classes", "a dropped bias"),
    "convert.fp16": WRONG_MODEL,
    "convert.bf16": WRONG_MODEL,
    "optimize.onnx": WRONG_MODEL,
    "extract.subgraph": {**WRONG_MODEL, "the value of another node": (m.written(m.renamed_values), "differs")},
    "openvino.quantize": read_wrong(
        "cbuild_openvino.quantize.subject:read_onnx", says="damaged the model|another model|only .* dB"
    ),
    "openvino.compress": read_wrong(
        "cbuild_openvino.quantize.subject:read_onnx", says="damaged the model|another model|only .* dB"
    ),
    "onnxruntime": read_wrong("cbuild_onnxruntime.compile:open_session", when=lambda options: "save" in options),
    "onnxruntime-ort": read_wrong("cbuild_onnxruntime.flat:open_session", when=lambda options: "save" in options),
    "openvino": read_wrong("cbuild_openvino.compile:read_onnx"),
    "executorch": traced_wrong("cbuild_executorch.compile:load_model"),
    "coreml int8": {
        name: planted
        for name, planted in traced_wrong(
            "cbuild_coreml.compile:load_model", says="damaged the model|another model|only .* dB"
        ).items()
        if name != "dropped biases"  # costs this model less than what 8 bits may
    },
    "executorch int8": traced_wrong(
        "cbuild_executorch.compile:load_model", says="damaged the model|another model|only .* dB|parity"
    ),
    "torch-inductor": traced_wrong("cbuild_inductor.compile:load_model"),
}
LONG = (
    "torch-inductor",
    "coreml int8",
    "executorch",
    "executorch int8",
    "quantize.qat",
    "openvino.quantize",
    "quantize.mixed",
)
QUICK = {(case, next(iter(faults))) for case, faults in TABLE.items() if case not in LONG}
"""One fault of each in a common run; all in a long one."""


@pytest.fixture(scope="session")
def subject_of(untrained, trained, exported, trained_sequence, tmp_path_factory) -> Callable[[str], Path]:
    @cache
    def make(name: str) -> Path:
        if name in ("untrained", "trained", "exported"):
            return {"untrained": untrained, "trained": trained, "exported": exported}[name]
        if name == "pruned":
            case = CASES["prune.magnitude"]
            return digits.apply(case.run, trained, case.params, tmp_path_factory.mktemp("pruned") / "out").out
        model, _, form = name.partition(" ")
        found = trained_sequence(model)
        if form:
            out = tmp_path_factory.mktemp("sequence") / "onnx"
            found = digits.apply(CASES["export.onnx"].run, found, ExportOnnx(), out).out
        return found

    return make


@pytest.fixture(scope="session")
def run_case(subject_of, trained) -> Callable[[str, Path], NodeRun]:
    def run(name: str, out: Path) -> NodeRun:
        case = CASES[name]
        world: dict[str, Any] = {"datasets": {**digits.DATASETS, "few": "few_digits:load"}}
        if name == "distill":
            world |= {"inputs": {"teacher": digits.as_input(trained)}, "references": {"teacher": "teacher"}}
        return digits.apply(case.run, subject_of(case.subject), case.params, out, **world)

    return run


@pytest.fixture(scope="session")
def sound(run_case, tmp_path_factory) -> Callable[[str], NodeRun]:
    return cache(lambda name: run_case(name, tmp_path_factory.mktemp("sound") / "out"))


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        pytest.param(case, fault, marks=() if (case, fault) in QUICK else pytest.mark.slow)
        for case, faults in TABLE.items()
        for fault in faults
    ],
)
def test_a_planted_fault_is_caught_by_the_own_check(case, fault, sound, run_case, tmp_path, monkeypatch) -> None:
    plant, says = TABLE[case][fault]
    assert "concern" not in sound(case).facts
    plant(monkeypatch)
    with pytest.raises(UserError, match=says):
        made = run_case(case, tmp_path / "out")
        raise UserError(made.facts.get("concern", f"published without a word: {made.facts}"))


def test_every_technique_and_backend_is_in_the_table() -> None:
    registry = discover(cache=None)
    names = {*registry.techniques, *registry.backends}
    wanted = {name for name in names if not name.startswith("metrics.")} - EXEMPT.keys()
    assert wanted == {case.split()[0] for case in TABLE}
    assert TABLE.keys() == CASES.keys()
