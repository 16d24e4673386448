from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import digits as digits_example
import msgspec
import numpy as np
import pytest
import unlowerable_models
from cbuild_coreml.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_coreml.settings import CoreMlSettings

from compressbuild.api import ModelInput, UserError
from compressbuild.api.testing import NodeRun, make_context

coremltools = pytest.importorskip("coremltools", reason="needs coremltools: pip install 'compressbuild[coreml]'")

COMPILE = "cbuild_coreml.compile:compile"
SETTINGS = {
    "fp32": CoreMlSettings(precision="fp32"),
    "fp16": CoreMlSettings(),
    "int8": CoreMlSettings(weights="int8", weight_threshold=512, deployment_target="macos15"),
    "palette": CoreMlSettings(weights="palette-4", weight_threshold=512, sizes={"batch": 1}),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return digits_example.source(tmp_path_factory.mktemp("coreml") / "source", width=16)


@pytest.fixture(scope="module")
def built(source: Path) -> dict[str, NodeRun]:
    return {name: digits_example.apply(COMPILE, source, s, source.with_name(name)) for name, s in SETTINGS.items()}


def spec_of(node: NodeRun) -> Any:
    return coremltools.utils.load_spec(str(node.out / "model.mlpackage"))


def test_packages_take_and_give_what_the_model_does(built: dict[str, NodeRun]) -> None:
    from cbuild_coreml.artifact import validate

    for node in built.values():
        validate(node.out)
        description = spec_of(node).description
        (image,), (output,) = description.input, description.output
        assert (image.name, output.name) == ("image", "output")
        float32 = image.type.multiArrayType.FLOAT32
        assert image.type.multiArrayType.dataType == output.type.multiArrayType.dataType == float32
        assert list(image.type.multiArrayType.shape) == [1, 1, 8, 8]
        sizes = [(a.lowerBound, a.upperBound) for a in image.type.multiArrayType.shapeRange.sizeRanges]
        assert sizes == ([] if node is built["palette"] else [(1, 64), (1, 1), (8, 8), (8, 8)])
        assert node.facts["parity"] == "not checked: Core ML runs on macOS only"
        assert node.facts["frontend"] == "torch.export"
    assert [spec_of(built[name]).specificationVersion for name in ("fp16", "int8")] == [8, 9]


def test_weights_are_as_small_as_asked(built: dict[str, NodeRun]) -> None:
    whole = built["fp32"].facts["weights_bytes"]
    for name, most in (("fp16", 0.52), ("int8", 0.3), ("palette", 0.16)):
        assert 0.1 < built[name].facts["weights_bytes"] / whole < most, name
    assert built["palette"].facts["compressed_tensors"] > 3


def test_packages_hold_the_models_weights(source: Path, built: dict[str, NodeRun]) -> None:
    """The weights of the last layer, through coremltools' own decompression."""
    from safetensors.numpy import load_file

    (wanted,) = (w for w in load_file(source / "weights.safetensors").values() if w.shape == (10, 32))
    for name, close in (("fp32", 0), ("fp16", 1e-3), ("int8", 0.02), ("palette", 0.2)):
        model = coremltools.models.MLModel(str(built[name].out / "model.mlpackage"), skip_model_load=True)
        if name in ("int8", "palette"):
            model = coremltools.optimize.coreml.decompress_weights(model)
        found = [m.val for m in coremltools.optimize.coreml.get_weights_metadata(model, weight_threshold=100).values()]
        (last,) = (value for value in found if value.shape == wanted.shape)
        assert np.linalg.norm(last - wanted) <= close * np.linalg.norm(wanted), name


def test_the_same_bytes_twice(source: Path, built: dict[str, NodeRun], tmp_path: Path) -> None:
    again = digits_example.apply(COMPILE, source, SETTINGS["palette"], tmp_path / "again")
    first = {
        p.relative_to(built["palette"].out): p.read_bytes() for p in built["palette"].out.rglob("*") if p.is_file()
    }
    assert {p.relative_to(again.out): p.read_bytes() for p in again.out.rglob("*") if p.is_file()} == first
    assert sorted(path.name for path in first) == ["Manifest.json", "model.mlmodel", "weight.bin"]


def test_a_package_is_run_by_name(built: dict[str, NodeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Core ML, which is on macOS only."""
    from cbuild_coreml.runner import load

    asked: dict[str, Any] = {}

    class Stand:
        def __init__(self, path: str, compute_units: Any) -> None:
            asked.update(path=path, units=compute_units)

        def predict(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"output": values["image"].sum((1, 2))}

    monkeypatch.setattr(coremltools.models, "MLModel", Stand)
    settings = CoreMlSettings(compute_units="cpu-only")
    runner = load(make_context(tmp_path / "ctx"), built["fp16"].out, settings)
    assert asked["units"] == coremltools.ComputeUnit.CPU_ONLY
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)
    found = runner({"image": np.ones((2, 1, 8, 8), np.float32)})
    assert {name: value.tolist() for name, value in found.items()} == {"output": [[8.0] * 8] * 2}
    assert runner.describe()["compute_units"] == "cpu-only"
    with pytest.raises(UserError, match="the package cannot be run: it expects image"):
        runner({"image": np.ones((65, 1, 8, 8), np.float32)})


def test_damage_is_seen(built: dict[str, NodeRun], tmp_path: Path) -> None:
    import shutil

    from cbuild_coreml.artifact import NAME, validate

    shutil.copytree(built["fp16"].out, tmp_path / "cut")
    program = tmp_path / "cut" / NAME / "Data/com.apple.CoreML/model.mlmodel"
    program.chmod(0o644)
    program.write_bytes(program.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"model\.mlpackage"):
        validate(tmp_path / "cut")
    manifest = json.loads((built["fp16"].out / NAME / "Manifest.json").read_text())
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


def test_what_cannot_be_converted_is_one_line(source: Path, tmp_path: Path) -> None:
    factory = f"{unlowerable_models.__name__}:singular"
    strange = digits_example.source(tmp_path / "source", factory=factory)
    with pytest.raises(UserError, match="linalg_svd") as caught:
        digits_example.apply(COMPILE, strange, CoreMlSettings(), tmp_path / "out", factories=(factory,))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="stores no weight of this model as palette-2"):
        settings = CoreMlSettings(weights="palette-2", weight_threshold=10**6)
        digits_example.apply(COMPILE, source, settings, tmp_path / "none")


@pytest.mark.slow
@pytest.mark.parametrize("name", digits_example.SEQUENCES)
def test_sequence_models(name: str, tmp_path: Path) -> None:
    source = digits_example.source(tmp_path / "source", factory=f"sequence_models:{name}")
    node = digits_example.apply(COMPILE, source, CoreMlSettings(), tmp_path / "out")
    assert node.facts["frontend"] == ("torch.export" if name == "transformer" else "torch.jit.trace")


OLD = {"deployment-target": "ios17"}
W8A8 = {"weights": "int8", "activations": "int8", "data": "some"}


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, "iOS17"),
        ({"weights": "int8"}, "iOS17"),
        (W8A8, "iOS17"),
        ({"weights": "int4"}, "iOS18"),
        ({"weights": "palette-3"}, "iOS18"),
        ({"sparse": True}, "iOS17"),
        ({"sparse": True, "weights": "int8"}, "iOS18"),
        ({"weights": "int4", "deployment-target": "macos15"}, "macOS15"),
        ({**W8A8, "deployment-target": "macos14"}, "macOS14"),
        ({"weights": "palette-4", "deployment-target": "ios16"}, "iOS16"),
        ({"deployment-target": "macos12"}, "macOS12"),
    ],
)
def test_the_oldest_system_is_raised_to_what_the_weights_need(settings: dict[str, Any], target: str) -> None:
    assert msgspec.convert(settings, CoreMlSettings).target == target


def test_records() -> None:
    (backend,) = compressbuild_backends()
    (kind,) = compressbuild_kinds()
    assert (backend.consumes, backend.produces) == (("torch-model",), kind.name)
    assert backend.run_needs.system == ("Darwin",)
    for settings, message in (
        ({"weights": "palette-3", **OLD}, "'weights: palette-3' needs 'deployment-target: ios18' or 'macos15'"),
        ({"weights": "int4", "deployment-target": "macos14"}, "'weights: int4' needs .* but it is 'macos14'"),
        ({"weights": "int8", "deployment-target": "ios15"}, "'weights: int8' needs 'deployment-target: ios16'"),
        (
            {"sparse": True, "deployment-target": "macos12"},
            "'sparse: true' needs 'deployment-target: ios16' or 'macos13'",
        ),
        ({"sparse": True, "weights": "palette-4", **OLD}, "'sparse: true' with 'weights: palette-4' needs .*ios18"),
        ({**W8A8, "deployment-target": "ios16"}, "'activations: int8' needs 'deployment-target: ios17' or 'macos14'"),
        ({**W8A8, "weights": "palette-4"}, "'activations: int8' needs 'weights: int8', but they are 'palette-4'"),
        ({"weights": "int8", "activations": "int8"}, "'activations: int8' needs 'data'"),
        ({"sparse": True, "weights": "int4"}, "'sparse: true' goes with weights of floats, 'int8' or palettes"),
        ({**W8A8, "sparse": True}, "'sparse: true' goes with .* float activations"),
        ({"weights": "palette-5"}, "Invalid enum value 'palette-5'"),
        ({"deployment-target": "ios9"}, "Invalid enum value 'ios9'"),
    ):
        with pytest.raises(msgspec.ValidationError, match=message):
            msgspec.convert(settings, CoreMlSettings)


MASKS = {
    "scalar": "masking_models:scalar",
    "constant": "masking_models:constant",
    "own": "masking_models:infinite",
}


def masked(place: Path, name: str, precision: str) -> NodeRun:
    factory = MASKS[name]
    subject = digits_example.source(place / "source", factory=factory)
    settings = CoreMlSettings(precision=precision)
    return digits_example.apply(COMPILE, subject, settings, place / "made", factories=(factory,))


def constants_of(node: NodeRun) -> np.ndarray:
    """All float constants that are written into the program, read by hand."""
    program = spec_of(node).mlProgram
    (function,) = program.functions.values()
    found = [np.zeros(0)]
    for block in function.block_specializations.values():
        for operation in block.operations:
            kind = operation.outputs[0].type.tensorType.dataType if operation.outputs else None
            if operation.type == "const" and kind in (10, 11):  # float16, float32
                for attribute in operation.attributes.values():
                    tensor = attribute.immediateValue.tensor
                    half = np.frombuffer(tensor.bytes.values, np.float16)
                    found.append(half.astype(float) if kind == 10 else np.array(tensor.floats.values, float))
    return np.concatenate(found)


def test_a_mask_of_the_least_float32_stays_finite_in_float16(tmp_path: Path) -> None:
    values = constants_of(masked(tmp_path / "half", "scalar", "fp16"))
    assert np.isfinite(values).all()
    assert values.min() == -65504
    assert constants_of(masked(tmp_path / "full", "scalar", "fp32")).min() < -1e38, "float32 holds it as it is"


def test_a_stored_mask_stays_finite_too(tmp_path: Path) -> None:
    stored = next(masked(tmp_path, "constant", "fp16").out.rglob("weight.bin")).read_bytes()
    assert np.full(7, -65504, np.float16).tobytes() in stored, "the first row of the mask"
    assert np.full(7, -np.inf, np.float16).tobytes() not in stored


def test_a_models_own_infinity_stays(tmp_path: Path) -> None:
    assert constants_of(masked(tmp_path, "own", "fp16")).min() == -np.inf


def test_a_constant_that_became_infinite_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cbuild_coreml.compile as compiling

    monkeypatch.setattr(compiling, "clamp", lambda program: 0)
    for name in ("scalar", "constant"):
        with pytest.raises(UserError, match=r"the constant '\w+' becomes infinite in float16") as error:
            masked(tmp_path / name, name, "fp16")
    assert "-1e4" in (error.value.hint or "")
