"""Export, quantization and the runner, where the packages of environment ``litert`` are installed in this Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import digits as digits_example
import msgspec
import numpy as np
import pytest

from compressbuild.api import ModelInput, UserError, WorkInput
from compressbuild.api.testing import NodeRun, make_context, run_node, torch_model

for _module in ("ai_edge_litert", "ai_edge_quantizer", "litert_torch"):
    pytest.importorskip(_module, reason=f"needs {_module}, of the environment litert")

from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: E402
from cbuild_litert import flatbuffer  # noqa: E402
from cbuild_litert.artifact import validate  # noqa: E402
from cbuild_litert.params import ExportTflite, QuantizeTflite  # noqa: E402
from cbuild_litert.runner import TfliteRunner  # noqa: E402
from cbuild_litert.settings import LiteRtSettings  # noqa: E402

EXPORT, QUANTIZE, COMPILE = (
    f"cbuild_litert.{name}" for name in ("export:export", "quantize:quantize", "compile:compile")
)
PRECISIONS = {
    "fp16": QuantizeTflite(precision="fp16"),
    "int8-dynamic": QuantizeTflite(precision="int8-dynamic"),
    "int8": QuantizeTflite(precision="int8", data="calibration"),
    "int8-io": QuantizeTflite(precision="int8", data="calibration", io="int8"),
}
CROSSED = [
    ModelInput("z", ("batch", 4), "float32"),
    ModelInput("ids", ("batch", 3), "int64"),
    ModelInput("a", ("batch", 4), "float32"),
]


def exported(source: Path, out: Path, factories: tuple[str, ...] = digits_example.FACTORIES, **params: Any) -> NodeRun:
    return digits_example.apply(EXPORT, source, ExportTflite(**params), out, factories=factories)


def quantized(source: Path, out: Path, params: QuantizeTflite) -> NodeRun:
    entry = WorkInput(path=str(source), kind="tflite", load="cbuild_litert.runner:load_reference")
    return run_node(QUANTIZE, entry, params, out, datasets=digits_example.DATASETS, root=digits_example.ROOT)


def raw(file: Path, feeds: dict[str, np.ndarray], signature: str = "serving_default") -> dict[str, np.ndarray]:
    """One run as an app would do it: nothing of the plugin."""
    interpreter = Interpreter(
        model_path=str(file), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner(signature)(**feeds)


def logits(artifact: Path, images: np.ndarray) -> np.ndarray:
    runner = TfliteRunner(artifact)
    return np.concatenate([runner({"image": images[at : at + 1]})["output"] for at in range(len(images))])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cbuild_torch.train.params import Train

    place = tmp_path_factory.mktemp("trained")
    source = digits_example.source(place / "source", width=8)
    params = Train(data="train", epochs=6, lr=0.005)
    return digits_example.apply("cbuild_torch.train.finetune:train", source, params, place / "out").out


@pytest.fixture(scope="module")
def fp32(trained: Path) -> NodeRun:
    return exported(trained, trained.with_name("fp32"))


@pytest.fixture(scope="module")
def smaller(fp32: NodeRun) -> dict[str, NodeRun]:
    return {name: quantized(fp32.out, fp32.out.with_name(name), params) for name, params in PRECISIONS.items()}


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    feeds, labels = digits_example.held_out()
    return feeds["image"][:200], labels[:200]


def test_float32_is_the_module(trained: Path, fp32: NodeRun, held_out: tuple[np.ndarray, np.ndarray]) -> None:
    assert sorted(path.name for path in fp32.out.iterdir()) == ["interface.json", "model.tflite"]
    validate(fp32.out)
    assert fp32.facts["sqnr_db"] > 80
    assert fp32.facts["narrowed"] == []
    images = held_out[0][:20]
    wanted = digits_example.outputs(trained, {"image": images})["output"]
    np.testing.assert_allclose(logits(fp32.out, images), wanted, rtol=1e-4, atol=1e-4)
    apps = [raw(fp32.out / "model.tflite", {"image": images[at : at + 1]})["output"] for at in range(20)]
    np.testing.assert_allclose(np.concatenate(apps), wanted, rtol=1e-4, atol=1e-4)


def test_names_keep_their_values_whatever_their_order(tmp_path: Path) -> None:
    factory = "litert_models:crossed"
    source = torch_model(tmp_path, factory, CROSSED)
    made = exported(source, tmp_path / "out", (factory,))
    assert made.facts["narrowed"] == ["ids"]
    rng = np.random.default_rng(0)
    feeds = {
        "z": rng.standard_normal((1, 4)).astype(np.float32),
        "ids": np.array([[0, 7, 49]]),
        "a": rng.standard_normal((1, 4)).astype(np.float32),
    }
    found = TfliteRunner(made.out)(feeds)
    assert list(found) == ["last", "first", "moved", *(f"part_{number}" for number in range(8, 16))]
    np.testing.assert_allclose(found["last"], feeds["z"] - 2 * feeds["a"], rtol=1e-5)
    np.testing.assert_array_equal(found["moved"], feeds["ids"] + 3)
    for number in range(8, 16):
        np.testing.assert_allclose(found[f"part_{number}"], feeds["z"] * number, rtol=1e-5)
    apps = raw(made.out / "model.tflite", {**feeds, "ids": feeds["ids"].astype(np.int32)})
    for name, value in apps.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    with pytest.raises(UserError, match="'ids' has values beyond 32 bits"):
        TfliteRunner(made.out)({**feeds, "ids": feeds["ids"] + (1 << 32)})


def test_sizes_are_fixed(trained: Path, fp32: NodeRun, tmp_path: Path) -> None:
    runner = TfliteRunner(exported(trained, tmp_path / "three", sizes={"batch": 3}).out)
    assert runner.inputs == (ModelInput("image", (3, 1, 8, 8), "float32"),)
    images = np.random.default_rng(1).random((3, 1, 8, 8), np.float32)
    np.testing.assert_allclose(runner({"image": images})["output"], logits(fp32.out, images), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="the LiteRT model cannot be run: it expects image"):
        runner({"image": images[:2]})
    with pytest.raises(UserError, match="no input has an axis 'rows'"):
        exported(trained, tmp_path / "wrong", sizes={"rows": 3})


def test_what_litert_does_not_have_is_said_in_one_line(tmp_path: Path) -> None:
    factory = "litert_models:spectrum"
    source = torch_model(tmp_path, factory, [ModelInput("x", (4, 4), "float32")])
    with pytest.raises(UserError, match="litert-torch cannot convert this model: ") as caught:
        exported(source, tmp_path / "out", (factory,))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", PRECISIONS)
def test_fewer_bits_cost_little(
    name: str, trained: Path, fp32: NodeRun, smaller: dict[str, NodeRun], held_out: tuple[np.ndarray, np.ndarray]
) -> None:
    made = smaller[name]
    validate(made.out)
    images, labels = held_out
    wanted, found = digits_example.outputs(trained, {"image": images})["output"], logits(made.out, images)
    assert (wanted.argmax(1) == labels).mean() > 0.85
    assert (wanted.argmax(1) == found.argmax(1)).mean() > 0.97
    assert np.abs(found - wanted).max() > 0, "it is the same model"
    sizes = [(place / "model.tflite").stat().st_size for place in (fp32.out, made.out)]
    assert sizes[1] < (0.8 if name == "fp16" else 0.7) * sizes[0]
    read = flatbuffer.read(made.out / "model.tflite")
    assert flatbuffer.precision(read) == ("fp16" if name == "fp16" else "int8")
    assert made.facts.get("samples") == (100 if name.startswith("int8-io") or name == "int8" else None)
    if name != "fp16":
        assert made.facts["quantized_share"] == 1


def test_the_edges_of_an_int8_model(smaller: dict[str, NodeRun], held_out: tuple[np.ndarray, np.ndarray]) -> None:
    """Floats by default; with ``io: int8`` an app scales by itself, as the runner does."""
    image = held_out[0][:1]
    plain = raw(smaller["int8"].out / "model.tflite", {"image": image})["output"]
    assert plain.dtype == np.float32
    file = smaller["int8-io"].out / "model.tflite"
    interpreter = Interpreter(model_path=str(file))
    (given,), (got,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["dtype"], got["dtype"]) == (np.int8, np.int8)
    scale, zero = given["quantization"]
    steps = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8)
    scale, zero = got["quantization"]
    wanted = (raw(file, {"image": steps})["output"].astype(np.float32) - zero) * scale
    np.testing.assert_allclose(logits(smaller["int8-io"].out, image), wanted, atol=2 * scale)


def test_the_platform_says_how_it_runs(smaller: dict[str, NodeRun], tmp_path: Path) -> None:
    entry = WorkInput(path=str(smaller["int8"].out), kind="tflite", load="cbuild_litert.runner:load_reference")
    for xnnpack, kernels in ((True, "XNNPACK"), (False, "LiteRT's own")):
        settings = LiteRtSettings(threads=2, xnnpack=xnnpack)
        made = run_node(COMPILE, entry, settings, tmp_path / kernels, root=digits_example.ROOT)
        assert (made.facts["kernels"], made.facts["threads"], made.facts["runtime"]) == (kernels, 2, "litert")
        assert made.facts["precision"] == "int8"
        assert (made.out / "model.tflite").read_bytes() == (smaller["int8"].out / "model.tflite").read_bytes()
        assert made.facts["parity"]["cases"]


def test_a_quantized_model_is_refused(smaller: dict[str, NodeRun], tmp_path: Path) -> None:
    for name, made in smaller.items():
        with pytest.raises(UserError, match="quantized already"):
            quantized(made.out, tmp_path / name, PRECISIONS["fp16"])


def test_a_model_of_a_user(fp32: NodeRun, held_out: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    """It comes without interface.json: its own names and types count."""
    shutil.copyfile(fp32.out / "model.tflite", tmp_path / "theirs.tflite")
    validate(tmp_path)
    runner = TfliteRunner(tmp_path)
    assert runner.inputs == (ModelInput("image", (1, 1, 8, 8), "float32"),)
    image = held_out[0][:1]
    np.testing.assert_array_equal(runner({"image": image})["output"], logits(fp32.out, image))


def test_an_interface_of_another_model_is_refused(fp32: NodeRun, tmp_path: Path) -> None:
    shutil.copytree(fp32.out, tmp_path, dirs_exist_ok=True)
    said = json.loads((tmp_path / "interface.json").read_text())
    said["outputs"] = ["scores"]
    (tmp_path / "interface.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="do not agree about"):
        TfliteRunner(tmp_path)


def test_a_model_that_is_cut_off_is_not_valid(fp32: NodeRun, tmp_path: Path) -> None:
    whole = (fp32.out / "model.tflite").read_bytes()
    for share in (0.01, 0.1, 0.5, 0.9, 0.99):
        (tmp_path / "model.tflite").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError):
            validate(tmp_path)


def test_a_wrong_model_is_seen_by_the_comparison(trained: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import cbuild_litert.export as module

    load = module.load_model

    def damaged(ctx: Any, directory: Path) -> Any:
        found = load(ctx, directory)
        if not seen:
            seen.append(1)
            for value in found.parameters():
                value.data += 0.05
        return found

    seen: list[int] = []
    monkeypatch.setattr(module, "load_model", damaged)
    with pytest.raises(UserError, match="parity: output 'output' of LiteRT is not what its source computes"):
        exported(trained, tmp_path / "out")


def test_settings_are_those_of_the_context(fp32: NodeRun, tmp_path: Path) -> None:
    settings = msgspec.to_builtins(LiteRtSettings(threads=2))
    entry = WorkInput(
        path=str(fp32.out),
        kind="tflite",
        load="cbuild_litert.runner:load",
        settings=settings,
        settings_type="cbuild_litert.settings:LiteRtSettings",
    )
    assert make_context(tmp_path / "ctx", subject=entry).runner("subject").describe()["threads"] == 2
