"""What is stored in fewer bits, read back without coremltools' own decompression and computed (:mod:`mil_programs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import digits as digits_example
import numpy as np
import pytest
from cbuild_coreml.settings import CoreMlSettings
from cbuild_torch.prune.params.magnitude import PruneMagnitude
from cbuild_torch.train.params import Train

from compressbuild.api import UserError
from compressbuild.api.testing import NodeRun
from examples.digits import data

pytest.importorskip("coremltools", reason="needs coremltools: pip install 'compressbuild[coreml]'")

from mil_programs import Program

COMPILE = "cbuild_coreml.compile:compile"
SMALL = {"weight_threshold": 512}
W8A8 = {"weights": "int8", "activations": "int8", "data": "calibration", **SMALL}
# Signal to noise of the outputs in dB, at least: what each bit of a symmetric number gives is six.
FORMS: dict[str, tuple[str, dict[str, Any], float]] = {
    "fp32": ("trained", {"precision": "fp32", **SMALL}, 90),
    "int8": ("trained", {"weights": "int8", **SMALL}, 35),
    "int4": ("trained", {"weights": "int4", "block_size": 16, **SMALL}, 15),
    "palette": ("trained", {"weights": "palette-6", **SMALL}, 25),
    "w8a8": ("trained", W8A8, 25),
    "w8a8 of ios18": ("trained", {**W8A8, "deployment_target": "ios18", "precision": "fp32"}, 25),
    "pruned": ("pruned", {"precision": "fp32", **SMALL}, 90),
    "sparse": ("pruned", {"sparse": True, **SMALL}, 45),
    "sparse of ios18": ("pruned", {"sparse": True, "deployment_target": "macos15", **SMALL}, 45),
    "sparse int8": ("pruned", {"sparse": True, "weights": "int8", **SMALL}, 35),
    "sparse palette": ("pruned", {"sparse": True, "weights": "palette-4", **SMALL}, 15),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("coreml")
    untrained = digits_example.source(place / "source", width=16)
    params = Train(data="train", epochs=1, batch_size=64, lr=3e-3)
    trained = digits_example.apply("cbuild_torch.train.finetune:train", untrained, params, place / "trained").out
    zeroed = PruneMagnitude(sparsity=0.75)
    pruned = digits_example.apply("cbuild_torch.prune.magnitude:prune", trained, zeroed, place / "pruned").out
    return {"trained": trained, "pruned": pruned}


@pytest.fixture(scope="module")
def nodes(sources: dict[str, Path]) -> dict[str, NodeRun]:
    place = sources["trained"].parent
    return {
        name: digits_example.apply(COMPILE, sources[source], CoreMlSettings(**settings), place / name)
        for name, (source, settings, _) in FORMS.items()
    }


@pytest.fixture(scope="module")
def programs(nodes: dict[str, NodeRun]) -> dict[str, Program]:
    return {name: Program(node.out / "model.mlpackage") for name, node in nodes.items()}


def images(batches: Any, count: int) -> np.ndarray:
    return np.concatenate([images for images, _ in batches])[:count]


@pytest.mark.parametrize("form", FORMS)
def test_what_a_package_computes_is_what_its_source_does(
    form: str, sources: dict[str, Path], programs: dict[str, Program]
) -> None:
    source, _, least = FORMS[form]
    feeds = {"image": images(data.test(), 200)}
    wanted = digits_example.outputs(sources[source], feeds)["output"]
    found = programs[form].answer(feeds)["output"]
    signal = np.sum((wanted - wanted.mean(0)) ** 2)  # what tells images apart
    assert 10 * np.log10(signal / np.sum((found - wanted) ** 2)) > least
    assert np.mean(found.argmax(1) == wanted.argmax(1)) > 0.9


def layers(program: Program) -> list[np.ndarray]:
    """Weights of the convolutions and linear layers, in the order in which they are computed."""
    return [program.weight(each) for each in program.named("conv", "linear")]


def large(weights: list[np.ndarray]) -> list[bool]:
    return [weight.size > SMALL["weight_threshold"] for weight in weights]


@pytest.mark.parametrize(
    ("form", "of"),
    [
        ("int8", "fp32"),
        ("w8a8", "fp32"),
        ("w8a8 of ios18", "fp32"),
        ("sparse int8", "pruned"),
    ],
)
def test_int8_weights_are_rounded_per_output_channel(form: str, of: str, programs: dict[str, Program]) -> None:
    floats, found = layers(programs[of]), layers(programs[form])
    assert sum(large(floats)) == 6
    for weight, decoded in zip(floats, found, strict=True):
        if weight.size > SMALL["weight_threshold"]:
            steps = np.abs(weight).reshape(len(weight), -1).max(1) / 127
            steps = steps.reshape(-1, *[1] * (weight.ndim - 1))
            assert np.all(np.abs(decoded - weight) <= 0.5 * steps + 1e-3 * np.abs(weight))
            assert np.mean((decoded != weight)[weight != 0]) > 0.2
            assert np.allclose(decoded / steps, np.round(decoded / steps), atol=0.1)


def test_int4_weights_are_rounded_per_block_of_inputs(programs: dict[str, Program], nodes: dict[str, NodeRun]) -> None:
    size, seen = 16, 0
    for weight, decoded in zip(layers(programs["fp32"]), layers(programs["int4"]), strict=True):
        if weight.size <= SMALL["weight_threshold"]:
            continue
        seen += 1
        for channel in range(weight.shape[0]):
            for start in range(0, weight.shape[1], size):
                block, made = (each[channel, start : start + size] for each in (weight, decoded))
                step = np.abs(block).max() / 7
                assert np.all(np.abs(made - block) <= 0.5 * step + 2e-3 * np.abs(block).max())
                assert np.allclose(made / step, np.round(made / step), atol=0.02)
    assert seen == nodes["int4"].facts["compressed_tensors"] == 6
    # Scales of 16 bits for each 16 numbers of 4 bits: 5 bits a weight, where int8 has 8 and few scales.
    assert nodes["int4"].facts["weights_bytes"] < 0.68 * nodes["int8"].facts["weights_bytes"]


@pytest.mark.parametrize("form", ["sparse", "sparse of ios18", "sparse int8", "sparse palette"])
def test_what_pruning_made_zero_stays_zero(form: str, programs: dict[str, Program], nodes: dict[str, NodeRun]) -> None:
    zeros = 0
    for weight, decoded in zip(layers(programs["pruned"]), layers(programs[form]), strict=True):
        if weight.size > SMALL["weight_threshold"]:
            assert np.all(decoded[weight == 0] == 0)
            zeros += int(np.sum(weight == 0))
    assert zeros > 20_000
    assert nodes[form].facts["sparse_tensors"] == nodes[form].facts["compressed_tensors"] == 6
    assert nodes[form].facts["weights_bytes"] < 0.3 * nodes["pruned"].facts["weights_bytes"]


def test_what_is_left_after_pruning_takes_the_nearest_of_sixteen_values(
    programs: dict[str, Program], nodes: dict[str, NodeRun]
) -> None:
    seen = 0
    for weight, decoded in zip(layers(programs["pruned"]), layers(programs["sparse palette"]), strict=True):
        if weight.size <= SMALL["weight_threshold"]:
            continue
        seen += 1
        kept = weight != 0
        palette = np.unique(decoded[kept])
        assert 8 < len(palette) <= 16
        nearest = np.abs(weight[kept][:, None] - palette).min(1)
        taken = np.abs(weight[kept] - decoded[kept])
        assert np.all(taken <= nearest + 1e-3 * np.abs(weight[kept]))  # values are of 16 bits
    assert seen == 6
    sizes = {name: nodes[name].facts["weights_bytes"] for name in ("sparse palette", "sparse int8", "sparse of ios18")}
    assert sizes["sparse palette"] < sizes["sparse int8"] < sizes["sparse of ios18"]


@pytest.mark.parametrize("form", ["w8a8", "w8a8 of ios18"])
def test_scales_of_activations_are_the_ranges_of_all_calibration_data(form: str, programs: dict[str, Program]) -> None:
    """The ranges are computed again, with the float package and one sample at a time."""
    program, floats = programs[form], programs["fp32"]
    weighed = [each for each in floats.named("conv", "linear") if floats.weight(each).size > 512]
    ranges = dict.fromkeys((each.inputs["x"].arguments[0].name for each in weighed), 0.0)
    for image in images(data.calibration(), 256):
        values = floats.run({"image": image[None]})
        ranges = {name: max(most, float(values[name].abs().max())) for name, most in ranges.items()}
    scales = [program.scale(each) for each in program.named("quantize")]
    assert scales == pytest.approx([most / 127 for most in ranges.values()], rel=2e-3)
    assert [program.scale(each) for each in program.named("dequantize")] == scales
    # What is multiplied by integers is the integers' own values.
    makers = {each.outputs[0].name: each.type for each in program.operations}
    for each in program.named("conv", "linear"):
        is_large = program.weight(each).size > 512
        assert (makers.get(each.inputs["x"].arguments[0].name) == "dequantize") == is_large


def test_the_node_says_what_the_integers_cost(nodes: dict[str, NodeRun]) -> None:
    facts = nodes["w8a8"].facts
    assert (facts["layers"], facts["float_layers"], facts["compressed_tensors"]) == (6, 3, 6)
    assert facts["samples"] == len(images(data.calibration(), 256))
    assert 20 < facts["quantization"]["sqnr_db"]["output"] < 70
    assert [nodes[name].facts["deployment_target"] for name in ("w8a8", "int4", "sparse", "sparse palette")] == [
        "iOS17", "iOS18", "iOS17", "iOS18"
    ]  # fmt: skip
    assert [nodes[name].facts["specification"] for name in ("w8a8", "int4", "sparse", "sparse palette")] == [8, 9, 8, 9]


def test_the_same_bytes_twice(sources: dict[str, Path], nodes: dict[str, NodeRun], tmp_path: Path) -> None:
    for form in ("w8a8", "sparse palette"):
        source, settings, _ = FORMS[form]
        again = digits_example.apply(COMPILE, sources[source], CoreMlSettings(**settings), tmp_path / form)
        first = {p.relative_to(nodes[form].out): p.read_bytes() for p in nodes[form].out.rglob("*") if p.is_file()}
        assert {p.relative_to(again.out): p.read_bytes() for p in again.out.rglob("*") if p.is_file()} == first


def test_what_cannot_be_stored_so_is_refused(sources: dict[str, Path], tmp_path: Path) -> None:
    for name, settings, said in (
        ("dense", {"sparse": True, **SMALL}, "no weight of this model is zero in half of its elements"),
        ("block", {"weights": "int4", "block_size": 48, **SMALL}, "stores no weight of this model as int4"),
        ("large", {**W8A8, "weight_threshold": 10**6}, "no layer of this model could be quantized"),
    ):
        with pytest.raises(UserError, match=said) as error:
            digits_example.apply(COMPILE, sources["trained"], CoreMlSettings(**settings), tmp_path / name)
        assert error.value.hint
