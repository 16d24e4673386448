from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_kit.parity import check_parity
from cbuild_onnx.model import parity
from cbuild_onnx.model.runner import OnnxRunner
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import Parity, UserError
from compressbuild.api.testing import make_context, run_node

Change = Callable[[str, np.ndarray], np.ndarray]
DEFAULT = Parity()


class Altered:
    """The runner of a model whose answers something is done to."""

    def __init__(self, runner: OnnxRunner, change: Change) -> None:
        self._runner, self._change = runner, change
        self.inputs = runner.inputs

    def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: self._change(name, value) for name, value in self._runner(feeds).items()}

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Compare a model with itself, its answers changed."""

    def run(
        proto: onnx.ModelProto,
        change: Change,
        settings: Parity = DEFAULT,
        precision: Any = "fp32",
        loader: str = "",
        again: Change | None = None,
    ) -> Any:
        path = models.save(proto, tmp_path / "model") / "model.onnx"
        return check_parity(
            make_context(tmp_path / "out", datasets={"seen": loader} if loader else None),
            settings,
            precision,
            lambda: OnnxRunner(path, optimise=False),
            lambda: Altered(OnnxRunner(path), change),
            name="the engine",
            again=None if again is None else lambda: Altered(OnnxRunner(path), again),
        )

    return run


def as_is(_: str, value: np.ndarray) -> np.ndarray:
    return value


def noisy(amount: float) -> Change:
    rng = np.random.default_rng(0)
    return lambda _, value: (value + amount * np.abs(value).max() * rng.uniform(-1, 1, value.shape)).astype(value.dtype)


def test_a_model_that_computes_the_same(compare) -> None:
    facts = compare(models.cnn(), as_is)
    assert facts["max_abs"] < 1e-5
    assert facts["cosine"] > 0.999999
    assert facts["sqnr_db"] > 100
    assert facts["parity"] == {
        "output": "logits",
        "precision": "fp32",
        "cases": ["random batch=3", "random batch=1", "random batch=16", "zeros"],
        "extremes": facts["parity"]["extremes"],
        "nan": "as the source",
    }


@pytest.mark.parametrize(("precision", "passes"), [("fp32", 1e-5), ("fp16", 5e-3), ("bf16", 3e-2), ("int8", 6e-2)])
def test_tolerances_grow_with_the_coarseness(compare, precision: str, passes: float) -> None:
    assert compare(models.cnn(), noisy(passes), precision=precision)["parity"]["precision"] == precision
    with pytest.raises(UserError, match=f"output 'logits' of the engine .*beyond the tolerance of {precision}"):
        compare(models.cnn(), noisy(300 * passes), precision=precision)


def test_the_report_names_output_and_measures(compare) -> None:
    with pytest.raises(UserError) as caught:
        compare(models.cnn(), lambda _, value: value[:, ::-1].copy())
    text = str(caught.value)
    assert text.startswith("parity: output 'logits' of the engine is not what its source computes: differs by up to ")
    assert "cosine" in text
    assert "SQNR" in text
    assert "\n" not in text


HASWELL = {"cpu.arch": "x86_64", "cpu.isa": ["avx2", "fma"]}


@pytest.mark.parametrize(
    ("facts", "saturates", "precision", "named"),
    [
        (HASWELL, True, "int8", True),
        (HASWELL, False, "int8", False),  # kernels that add in 32 bits
        (HASWELL, True, "fp32", False),
        ({"cpu.arch": "x86_64", "cpu.isa": ["avx2", "avx512_vnni"]}, True, "int8", False),
        ({"cpu.arch": "x86_64", "cpu.isa": ["avx2", "avx_vnni"]}, True, "int8", False),
        ({"cpu.arch": "aarch64", "cpu.isa": ["asimd"]}, True, "int8", False),
        ({}, True, "int8", False),  # nobody knows
    ],
)
def test_saturation_is_named_on_a_processor_that_has_it(
    facts: dict[str, Any], saturates: bool, precision: Any, named: bool, tmp_path: Path
) -> None:
    path = models.save(models.cnn(), tmp_path / "model") / "model.onnx"
    with pytest.raises(UserError) as caught:
        check_parity(
            make_context(tmp_path / "out", facts=facts),
            DEFAULT,
            precision,
            lambda: OnnxRunner(path),
            lambda: Altered(OnnxRunner(path), lambda _, value: value[:, ::-1].copy()),
            name="the engine",
            saturates=saturates,
        )
    hint = caught.value.hint or ""
    assert ("VNNI" in hint) == named
    assert ("reduce-range" in hint) == named
    assert "parity: {data: NAME}" in hint


def test_only_the_wrong_output_is_named(compare) -> None:
    proto = models.cnn()
    proto.graph.output.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", 16, 1, 1]))
    with pytest.raises(UserError, match="output 'pooled'"):
        compare(proto, lambda name, value: value + (name == "pooled"))


def test_values_that_are_not_finite(compare) -> None:
    def spoil(_: str, value: np.ndarray) -> np.ndarray:
        return np.where(np.arange(value.shape[-1]) == 3, np.float32(np.nan), value)

    with pytest.raises(UserError, match=r"'logits' of .* is infinite or NaN where its source's is finite"):
        compare(models.cnn(), spoil)


def seen() -> list[tuple[np.ndarray, np.ndarray]]:
    """40 images of pixels 0 to 255, in batches of 25 and 15."""
    rng = np.random.default_rng(3)
    return [(rng.integers(0, 256, (count, *models.SHAPE)).astype(np.float32), np.zeros(count)) for count in (25, 15)]


def few() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.zeros((2, 3), np.float32), np.zeros(2))]


def test_samples_of_the_users_data(compare) -> None:
    facts = compare(models.cnn(), as_is, Parity(data="seen", samples=36), loader=f"{__name__}:seen")
    cases = facts["parity"]["cases"]
    assert cases[:3] == ["seen 0–15", "seen 16–31", "seen 32–35"]
    assert "zeros" in cases


def test_what_goes_wrong_on_such_data_alone_is_seen(compare) -> None:
    """As an engine that saturates above what generated inputs reach."""

    def saturate(_: str, value: np.ndarray) -> np.ndarray:
        return np.clip(value, -50, 50)

    compare(models.cnn(), saturate)
    with pytest.raises(UserError, match="output 'logits' of the engine is not what its source computes"):
        compare(models.cnn(), saturate, Parity(data="seen"), loader=f"{__name__}:seen")


def test_data_that_do_not_fit_are_an_error(compare) -> None:
    """They are not generated inputs, which a model may refuse."""
    with pytest.raises(UserError, match="the data does not fit the model"):
        compare(models.cnn(), as_is, Parity(data="seen"), loader=f"{__name__}:few")


def test_a_swallowed_nan_is_reported(compare) -> None:
    facts = compare(models.cnn(), lambda _, value: np.nan_to_num(value))
    assert facts["parity"]["nan"] == "not as the source"


def test_another_shape(compare) -> None:
    with pytest.raises(UserError, match=r"the shape \[3, 9\], its source's \[3, 10\]") as caught:
        compare(models.cnn(), lambda _, value: value[:, :9])
    assert (caught.value.hint or "").startswith("at the sizes of this case the runtime computes something else")


def test_a_missing_output(tmp_path: Path) -> None:
    a = models.save(models.cnn(), tmp_path / "a") / "model.onnx"
    renamed = models.cnn()
    renamed.graph.output[0].name = renamed.graph.node[-1].output[0] = "scores"
    b = models.save(renamed, tmp_path / "b") / "model.onnx"
    with pytest.raises(UserError, match="has no output 'logits'") as caught:
        check_parity(
            make_context(tmp_path / "out"), Parity(), "fp32", lambda: OnnxRunner(a), lambda: OnnxRunner(b), name="it"
        )
    assert caught.value.hint == "it has: scores"


def test_one_size_that_the_compiled_model_lost(compare, tmp_path: Path) -> None:
    """An engine that was settled on one batch size, as exporters and compilers silently do."""
    loose = models.save(models.cnn(), tmp_path / "a") / "model.onnx"
    fixed = models.save(models.cnn(batch=16), tmp_path / "b") / "model.onnx"
    with pytest.raises(UserError, match="fails on the case 'random batch=3', which its source accepts") as caught:
        check_parity(
            make_context(tmp_path / "out"),
            Parity(),
            "fp32",
            lambda: OnnxRunner(loose),
            lambda: OnnxRunner(fixed),
            name="the engine",
        )
    assert "parity: {axes:" in (caught.value.hint or "")


def test_axes_are_tried_at_the_sizes_given(compare) -> None:
    facts = compare(models.cnn(), as_is, Parity(axes={"batch": [1, 3, 5]}))
    assert facts["parity"]["cases"] == ["random batch=5", "random batch=1", "random batch=3", "zeros"]
    with pytest.raises(UserError, match="no input has a dynamic axis 'tokens'") as caught:
        compare(models.cnn(), as_is, Parity(axes={"tokens": [1]}))
    assert caught.value.hint == "there are: batch"


def table(rows: int = 300) -> onnx.ModelProto:
    """Rows of a table, averaged where the mask says so."""
    words = np.random.default_rng(1).standard_normal((rows, 4)).astype(np.float32)
    shape = ["batch", "length"]
    return models.model(
        [
            helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT32),
            helper.make_node("Gather", ["words", "ids"], ["x"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["share"]),
            helper.make_node("Mul", ["x", "share"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "length"], ["sum"], keepdims=0),
        ],
        {"input_ids": (TensorProto.INT64, shape), "attention_mask": (TensorProto.INT64, shape)},
        {"sum": (TensorProto.FLOAT, ["batch", 4])},
        [
            numpy_helper.from_array(words, "words"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "length"),
        ],
    )


def changed_table(rows: slice) -> onnx.ModelProto:
    proto = table()
    words = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    words[rows] += 0.5
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(words, "words"))
    return proto


def without_mask() -> onnx.ModelProto:
    proto = table()
    proto.graph.node[-1].input[0] = "x"
    return proto


def cut_at(length: int) -> onnx.ModelProto:
    """As one that looks at the last ``length`` ids only, however many there are."""
    proto = table()
    ends = [("from", [-length]), ("to", [np.iinfo(np.int64).max]), ("axis", [1])]
    proto.graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in ends)
    cut = helper.make_node("Slice", ["kept", "from", "to", "axis"], ["rest"])
    proto.graph.node.insert(len(proto.graph.node) - 1, cut)
    proto.graph.node[-1].input[0] = "rest"
    return proto


@pytest.mark.parametrize(
    ("other", "case"),
    [
        (changed_table(slice(2, None)), ""),
        (changed_table(slice(299, 300)), ""),
        (without_mask(), ""),
        (cut_at(20), "length=96"),
        (cut_at(80), "length=96"),
    ],
    ids=["rows", "last row", "mask", "window of 20", "window of 80"],
)
def test_faults_that_ids_of_one_and_full_masks_hide(other: onnx.ModelProto, case: str, tmp_path: Path) -> None:
    source = models.save(table(), tmp_path / "source") / "model.onnx"
    compiled = models.save(other, tmp_path / "other") / "model.onnx"
    ones = {name: np.ones((2, 16), np.int64) for name in ("input_ids", "attention_mask")}
    np.testing.assert_array_equal(OnnxRunner(source)(ones)["sum"], OnnxRunner(compiled)(ones)["sum"])
    with pytest.raises(
        UserError, match=f"output 'sum' of it is not what .* worst in the case '(random|zeros).*{case}'"
    ):
        parity.check(make_context(tmp_path / "out"), Parity(), source, lambda: OnnxRunner(compiled), name="it")
    facts = parity.check(make_context(tmp_path / "ok"), Parity(), source, lambda: OnnxRunner(source), name="it")
    assert len(facts["parity"]["cases"]) == 7


class Short(OnnxRunner):
    """As a model with a table of 20 positions."""

    def __call__(self, feeds: Any) -> dict[str, np.ndarray]:
        if feeds["input_ids"].shape[1] > 20:
            raise IndexError("position 20 is out of range")
        return super().__call__(feeds)


def test_sizes_that_the_source_refuses_are_said(tmp_path: Path) -> None:
    path = models.save(table(), tmp_path / "source") / "model.onnx"
    settings, out = Parity(), make_context(tmp_path / "out")
    facts = check_parity(out, settings, "fp32", lambda: Short(path), lambda: OnnxRunner(path), name="it")
    assert set(facts["parity"]["refused"]) == {"random batch=3,length=96", "plain batch=3,length=96"}
    assert "random batch=3,length=7" in facts["parity"]["cases"]
    with pytest.raises(UserError, match="it fails on the case 'random batch=3,length=96'") as caught:
        check_parity(out, settings, "fp32", lambda: OnnxRunner(path), lambda: Short(path), name="it")
    assert (caught.value.hint or "").startswith("compiling fixed a size that is dynamic in 'inputs:'")


def test_whole_numbers_may_flip_now_and_then(compare) -> None:
    proto = models.model(
        [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)],
        {"x": (TensorProto.FLOAT, ["batch", 50])},
        {"y": (TensorProto.INT64, ["batch"])},
    )
    sizes = Parity(axes={"batch": [100, 400]})

    def flip(share: float) -> Change:
        return lambda _, value: np.where(np.arange(len(value)) < share * len(value), value + 25, value)

    compare(proto, flip(0.01), sizes)
    with pytest.raises(UserError, match="of its values differ"):
        compare(proto, flip(0.2), sizes)


def test_an_output_that_is_always_zero(compare) -> None:
    proto = models.model(
        [helper.make_node("Mul", ["x", "zero"], ["y"])],
        {"x": (TensorProto.FLOAT, ["batch", 4])},
        {"y": (TensorProto.FLOAT, ["batch", 4])},
        [numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )
    assert compare(proto, as_is)["sqnr_db"] == 200
    with pytest.raises(UserError, match="output 'y'"):
        compare(proto, lambda _, value: value + 1)


def test_inputs_that_the_source_cannot_take_are_no_failure(compare) -> None:
    """Only [N, 3] fits: a generated size of the second axis does not."""
    proto = models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["batch", "wide"])},
        {"y": (TensorProto.FLOAT, ["batch", 2])},
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
    )
    assert compare(proto, as_is)["parity"].startswith("not checked: the source rejects generated inputs (")
    assert compare(proto, as_is, Parity(axes={"wide": [3]}))["sqnr_db"] > 100
    assert compare(proto, lambda _, value: value + 1, Parity(check=False)) == {"parity": "not checked"}


def test_precision_of_a_file(tmp_path: Path) -> None:
    fp32 = models.save(models.cnn(), tmp_path / "fp32")
    int8 = models.quantized(fp32, tmp_path / "int8", "u8-affine")
    half = models.save(models.half(models.cnn()), tmp_path / "half")
    assert [parity.precision(place / "model.onnx") for place in (fp32, half, int8)] == ["fp32", "fp16", "int8"]


@pytest.mark.parametrize("form", ["fp32", "half", "int8"])
def test_onnxruntime_compares_what_it_compiled(form: str, tmp_path: Path) -> None:
    source = models.save(models.cnn(), tmp_path / "fp32")
    if form == "int8":
        source = models.quantized(source, tmp_path / "int8", "u8-affine")
    elif form == "half":
        source = models.save(models.half(models.cnn()), tmp_path / "half")
    compiled = "cbuild_onnxruntime.compile:compile"
    facts = run_node(compiled, source, OnnxRuntimeSettings(), tmp_path / "out").facts
    assert facts["parity"]["output"] == "logits"
    assert facts["sqnr_db"] > 30
    if form == "int8":  # fused integer kernels: to the bit
        assert (facts["max_abs"], facts["sqnr_db"]) == (0, 200)
        return
    strict = OnnxRuntimeSettings(parity=Parity(sqnr_db=190, axes={"batch": [64]}))  # a few answers round otherwise
    with pytest.raises(UserError, match=r"output 'logits' of ONNX Runtime .* SQNR .* dB \(at least 190\)"):
        run_node(compiled, source, strict, tmp_path / "strict")


def test_what_rounding_alone_moves_is_no_fault_of_the_engine(compare) -> None:
    off = {"precision": "int8"}
    with pytest.raises(UserError, match=r"of its magnitude \(allowed: 0\.25\)"):
        compare(models.cnn(), noisy(0.3), **off)
    facts = compare(models.cnn(), noisy(0.3), **off, again=noisy(0.25))
    assert "rounding in another order alone moves its answers by 0.25" in facts["concern"]
    assert "concern" not in compare(models.cnn(), noisy(0.01), **off, again=noisy(0.25)), "it is not even asked"
    with pytest.raises(UserError, match="is not what its source computes"):  # sturdy: the engine is wrong
        compare(models.cnn(), noisy(0.3), **off, again=noisy(0.01))
    with pytest.raises(UserError, match="is not what its source computes"):  # far more than rounding
        compare(models.cnn(), lambda _, value: -value, **off, again=noisy(0.25))
    with pytest.raises(UserError, match=r"SQNR .* dB \(at least 5\)"):  # noise has no right answer
        compare(models.cnn(), noisy(2), **off, again=noisy(2))
    with pytest.raises(UserError, match=r"allowed: 0\.2\)"):  # who names a limit means it
        compare(models.cnn(), noisy(0.3), Parity(max_error=0.2), **off, again=noisy(0.25))
