"""The roofline against counts by hand, runners whose time is known, and models on their own runtimes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_metrics.speed import ceilings
from cbuild_metrics.speed import roofline as module
from cbuild_metrics.speed.params import Roofline
from cbuild_metrics.speed.roofline import roofline
from cbuild_onnx.model.precision import count
from cbuild_onnx.model.traffic import weights_read
from fake_runner import FakeRunner
from onnx import TensorProto, helper, numpy_helper

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node
from compressbuild.api.work import WorkInput

F, I64 = TensorProto.FLOAT, TensorProto.INT64
QUICK = Roofline(batch=4, seconds=0.05, warmup=1)


def gemm(wide: int = 64, narrow: int = 10) -> onnx.ModelProto:
    weights = [
        numpy_helper.from_array(np.ones((narrow, wide), np.float32), "w"),
        numpy_helper.from_array(np.ones(narrow, np.float32), "b"),
    ]
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", transB=1)
    return models.model([node], {"x": (F, ["n", wide])}, {"y": (F, ["n", narrow])}, weights)


def read(proto: onnx.ModelProto, place: Path, batch: int = 1, **axes: int) -> int:
    artifact = models.save(proto, place / "m")
    return weights_read(make_context(place / "out"), artifact, axes, batch)


def measured(artifact: Path, out: Path, params: Roofline = QUICK, load: str = "cbuild_onnx.model.runner:load") -> Any:
    model = WorkInput(path=str(artifact), kind="onnx", census="cbuild_onnx.model.census:census")
    return run_node(
        "cbuild_metrics.speed.roofline:roofline", artifact, params, out, kind="onnx", load=load, inputs={"model": model}
    ).facts


def test_the_counts_of_a_layer_are_those_by_hand(tmp_path: Path) -> None:
    found = measured(models.save(gemm(), tmp_path / "m"), tmp_path / "out")
    assert found["flops"] == 2 * 4 * 64 * 10
    assert found["traffic"] == {"weights": 4 * (64 * 10 + 10), "inputs": 4 * 4 * 64, "outputs": 4 * 4 * 10}
    assert found["bytes"] == sum(found["traffic"].values())
    assert found["intensity"] == pytest.approx(5120 / 3784)
    assert (found["batch"], found["threads"]) == (4, 1)


def test_the_counts_of_a_network(tmp_path: Path) -> None:
    artifact = models.save(models.cnn(), tmp_path / "m")
    found = measured(artifact, tmp_path / "out")
    assert found["flops"] == 2 * 4 * models.cnn_macs()
    stored = onnx.load(str(artifact / "model.onnx")).graph.initializer
    assert found["traffic"]["weights"] == sum(numpy_helper.to_array(tensor).nbytes for tensor in stored)
    assert (found["traffic"]["inputs"], found["traffic"]["outputs"]) == (4 * 4 * 64, 4 * 4 * 10)


def planted(rates: list[float]) -> ceilings.Ceiling:
    """A ceiling that finds these, one after the other: the greatest of them is to count."""

    class Planted(ceilings.Ceiling):
        def measure(self, seconds: float) -> None:
            self.rate, self.by = max(self.rate, rates.pop(0)), "planted"

    return Planted({}, 1)


def test_rates_share_and_bound_follow_from_them(
    fake: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(0.004)
        return {"y": x}

    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, "bandwidth", lambda *given: asked.append(given) or planted([2e9, 1e9]))
    monkeypatch.setattr(module, "arithmetic", lambda *given: asked.append(given) or planted([4e9, 5e9]))
    monkeypatch.setattr(module, "_work", lambda *given: module._Work({"float32": 1_000_000}, 1000, ["DFT"]))
    found = roofline(fake(subject=FakeRunner(run, x=(("n", 25), "float32"))), tmp_path, QUICK)
    seconds = found["latency"] / 1000
    assert seconds >= 0.004
    assert (found["flops"], found["bytes"]) == (8_000_000, 1000 + 2 * 4 * 100)
    rates = found["rates"]
    assert rates["GFLOP/s"]["achieved"] == pytest.approx(8e-3 / seconds)
    assert rates["GB/s"]["achieved"] == rates["GB/s of main memory"]["achieved"] == pytest.approx(1.8e-6 / seconds)
    assert [row["ceiling"] for row in rates.values()] == [5, 2, 2]
    assert all(row["share"] == pytest.approx(row["achieved"] / row["ceiling"]) for row in rates.values())
    assert (found["value"], found["bound"]) == (rates["GFLOP/s"]["share"], "compute")
    assert found["uncounted"] == ["DFT"]
    assert sorted(asked, key=str) == [("float32", 1), (1800, 1), (ceilings.BEYOND_CACHE, 1)]
    assert found["arithmetic"] == {"float32": {"flops": 8_000_000, "ceiling": 5, "by": "planted"}}
    # The roof over the least time: the same share, from Williams' min(peak, intensity × bandwidth).
    assert found["value"] == pytest.approx(8e6 / seconds / min(5e9, found["intensity"] * 2e9))
    monkeypatch.setattr(module, "_work", lambda *given: module._Work({"float32": 10}, 4_000_000))
    found = roofline(fake(subject=FakeRunner(run, x=(("n", 25), "float32"))), tmp_path, QUICK)
    assert (found["value"], found["bound"]) == (found["rates"]["GB/s"]["share"], "memory")


def test_each_operation_is_held_against_the_ceiling_of_its_type(
    fake: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"bfloat16": 10e9, "int8": 20e9}
    floats: list[str] = []
    monkeypatch.setattr(module, "bandwidth", lambda size, threads: planted([1e12, 1e12]))
    monkeypatch.setattr(module, "arithmetic", lambda kind, threads: planted([rates[kind]] * 2))
    work = module._Work({"int8": 3_000_000, "bfloat16": 500_000}, 1000)
    monkeypatch.setattr(module, "_work", lambda ctx, axes, batch, kind: floats.append(kind) or work)
    runner = FakeRunner(lambda x: {"y": x}, x=(("n", 25), "float32"))
    runner.describe = lambda: {"device": "CPU", "precision": "bf16"}  # type: ignore[method-assign]
    found = roofline(fake(subject=runner), tmp_path, QUICK)
    assert floats == ["bfloat16"]
    assert {kind: row["flops"] for kind, row in found["arithmetic"].items()} == {"int8": 24e6, "bfloat16": 4e6}
    least = 24e6 / 20e9 + 4e6 / 10e9
    assert found["rates"]["GFLOP/s"]["ceiling"] == pytest.approx(28e6 / least / 1e9)
    assert found["rates"]["GFLOP/s"]["share"] == pytest.approx(1000 * least / found["latency"])


def quantized(*, weight: int = TensorProto.INT8, both: bool = True) -> onnx.ModelProto:
    """x · (w dequantized and transposed), x being dequantized as well if ``both``; then a product of floats."""
    kind = helper.tensor_dtype_to_np_dtype(weight)
    stored = [
        numpy_helper.from_array(np.ones((6, 8), kind), "w"),
        numpy_helper.from_array(np.zeros((), kind), "zero"),
        numpy_helper.from_array(np.float32(0.5), "scale"),
        numpy_helper.from_array(np.ones((6, 2), np.float32), "v"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["xq"], name="q"),
        helper.make_node("DequantizeLinear", ["xq", "scale"], ["xd"], name="dx"),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wd"], name="dw"),
        helper.make_node("Transpose", ["wd"], ["wt"], name="turn"),
        helper.make_node("MatMul", ["xd" if both else "x", "wt"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "v"], ["y"], name="second"),
    ]
    return models.model(nodes, {"x": (F, ["n", 8])}, {"y": (F, ["n", 2])}, stored, opset=21)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"int8": 48, "float": 12}),
        ({"both": False}, {"float": 60}),
        ({"weight": TensorProto.INT16}, {"float": 60}),
    ],
)
def test_a_product_of_dequantized_tensors_is_one_of_integers(
    given: dict[str, Any], expected: dict[str, int], tmp_path: Path
) -> None:
    artifact = models.save(quantized(**given), tmp_path / "m")
    found = count(make_context(tmp_path / "out"), artifact, {})
    assert (found.by_type, found.uncounted) == (expected, ())


def test_operators_of_integers(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((8, 6), np.int8), "w")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "scale", "zero"], name="q"),
        helper.make_node("MatMulInteger", ["xq", "w", "zero"], ["y"], name="product"),
    ]
    proto = models.model(nodes, {"x": (F, ["n", 8])}, {"y": (TensorProto.INT32, ["n", 6])}, [weight])
    artifact = models.save(proto, tmp_path / "m")
    found = count(make_context(tmp_path / "out"), artifact, {})
    assert (found.by_type, found.uncounted) == ({"int8": 48}, ())


def lookup(reader: str = "Gather") -> onnx.ModelProto:
    """An embedding of 1,000 × 8, looked up for ids N × seq; with ``MatMul`` the table is also the output layer."""
    table = numpy_helper.from_array(np.ones((1000, 8), np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"], name="look")]
    if reader == "MatMul":
        nodes.append(helper.make_node("MatMul", ["table", "e"], ["z"], name="all"))
    column = [numpy_helper.from_array(np.ones((8, 1), np.float32), "e")] if reader == "MatMul" else []
    outputs = {"y": (F, None)} | ({"z": (F, None)} if reader == "MatMul" else {})
    return models.model(nodes, {"ids": (I64, ["n", "seq"])}, outputs, [table, *column])


def test_of_a_table_only_the_rows_count(tmp_path: Path) -> None:
    assert read(lookup(), tmp_path / "a", batch=3, seq=5) == 3 * 5 * 8 * 4
    assert read(lookup(), tmp_path / "b", batch=300, seq=5) == 1000 * 8 * 4, "no more than the table"
    assert read(lookup("MatMul"), tmp_path / "c", batch=3, seq=5) == 1000 * 8 * 4 + 32


def test_quantised_weights_count_as_they_are_stored(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.ones((100, 8), np.int8), "table")
    packed = helper.make_tensor("w", TensorProto.INT4, [8, 3], [1] * 24)
    scale = numpy_helper.from_array(np.float32(0.5), "scale")
    nodes = [
        helper.make_node("DequantizeLinear", ["table", "scale"], ["rows"], name="dq"),
        helper.make_node("Gather", ["rows", "ids"], ["x"], name="look"),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["v"], name="dw"),
        helper.make_node("MatMul", ["x", "v"], ["y"], name="product"),
    ]
    proto = models.model(nodes, {"ids": (I64, ["n"])}, {"y": (F, None)}, [table, packed, scale], opset=21)
    assert read(proto, tmp_path, batch=5) == 5 * 8 + 12 + 4


def test_of_a_torch_model_what_operators_read() -> None:
    import torch
    from cbuild_torch.model.traffic import Reads
    from torch import nn

    net = nn.Sequential(nn.Embedding(50, 4), nn.Flatten(), nn.Linear(12, 2)).eval()
    net[1].unused = nn.Linear(2, 2)
    reads = Reads()
    with torch.no_grad(), reads:
        net(torch.zeros(6, 3, dtype=torch.int64))
    assert reads.bytes_of(net) == 6 * 3 * 4 * 4 + 4 * (12 * 2 + 2)
    with torch.no_grad(), reads:
        torch.nn.functional.linear(torch.zeros(1, 4), net[0].weight)  # tied: now an output layer, too
    assert reads.bytes_of(net) == 4 * (50 * 4 + 12 * 2 + 2)


def test_a_trained_torch_model(trained: Path, tmp_path: Path) -> None:
    import digits
    from safetensors.numpy import load_file

    model = digits.as_input(trained)
    found = digits.apply(
        "cbuild_metrics.speed.roofline:roofline", trained, QUICK, tmp_path / "out", inputs={"model": model}
    ).facts
    state = load_file(next(trained.glob("*.safetensors")))
    read = {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")}
    assert found["traffic"] == {
        "weights": sum(array.nbytes for array in read.values()),
        "inputs": 4 * 4 * 64,
        "outputs": 4 * 4 * 10,
    }
    assert found["flops"] > 2 * 4 * sum(array.size for array in read.values() if array.ndim > 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_ceilings_are_of_this_machine(threads: int) -> None:
    for size in (1, 1 << 20, 8 << 20):
        found = ceilings.bandwidth(size, threads)
        found.measure(0.02)
        assert 1e8 < found.rate < 1e13
    for kind in ("float32", "int8", "bfloat16"):
        found = ceilings.arithmetic(kind, threads)
        found.measure(0.1)
        assert 1e8 < found.rate < 1e14
        assert found.by in found.makers


def test_a_rate_counts_what_all_threads_do() -> None:
    for threads in (1, 3):
        found = ceilings._rate([lambda: time.sleep(0.01)] * threads, 1000, 0.05)
        assert 0.5 * threads * 1e5 < found <= threads * 1e5


def test_the_best_kernel_counts_and_a_disturbed_measurement_lowers_nothing() -> None:
    waits = {"quick": 0.002, "slow": 0.01}
    makers = {name: (lambda name=name: lambda: time.sleep(waits[name]), 1000.0) for name in waits}
    found = ceilings.Ceiling(makers, 1)
    found.measure(0.1)
    first = found.rate
    assert found.by == "quick"
    assert 2.5e5 < first <= 5e5
    waits["quick"] = 0.02
    found.measure(0.1)
    assert (found.rate, found.by) == (first, "quick")


def test_no_library_at_hand_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def names(kind: str) -> set[str]:
        return {name.rpartition(" ")[0] for name in ceilings.arithmetic(kind, 1).makers}

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert names("float32") == {"numpy sgemm", "onnxruntime MatMul", "torch mm"}
    assert names("int8") == {"onnxruntime MatMulInteger"}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert "torch mm" not in names("float32"), "its threads are the subject's"
    monkeypatch.setattr(ceilings, "find_spec", lambda name: None)
    assert names("float32") == {"numpy sgemm"}


@pytest.mark.parametrize(
    "described",
    [{"provider": "CUDAExecutionProvider"}, {"device": "GPU"}, {"device": "cuda"}, {"compute_units": "CPU_AND_NE"}],
)
def test_what_runs_elsewhere_is_refused(described: dict[str, str], fake: Callable[..., Any], tmp_path: Path) -> None:
    runner = FakeRunner(lambda x: {"y": x}, x=(("n", 2), "float32"))
    runner.describe = lambda: described  # type: ignore[method-assign]
    with pytest.raises(
        UserError, match=f"this machine's processor, but the artifact runs on {next(iter(described.values()))}"
    ):
        roofline(fake(subject=runner), tmp_path, QUICK)
    assert not runner.batches


@pytest.mark.parametrize("described", [{"device": "CPU", "threads": 2}, {"provider": "CPUExecutionProvider"}, {}])
def test_what_runs_here_is_held_against_its_threads(described: dict[str, Any]) -> None:
    module._check_processor(described)
    assert module._threads(described) == described.get("threads", 1)


def test_on_openvino(tmp_path: Path) -> None:
    from cbuild_openvino.settings import OpenVinoSettings

    source = models.save(gemm(512, 512), tmp_path / "m")
    artifact = run_node("cbuild_openvino.compile:compile", source, OpenVinoSettings(), tmp_path / "ir", kind="onnx").out
    settings = {"path": str(artifact), "kind": "openvino-ir", "load": "cbuild_openvino.runner:load"}
    subject = WorkInput(**settings, settings={}, settings_type="cbuild_openvino.settings:OpenVinoSettings")
    inputs = {"model": WorkInput(path=str(source), kind="onnx", census="cbuild_onnx.model.census:census")}
    found = run_node("cbuild_metrics.speed.roofline:roofline", subject, QUICK, tmp_path / "out", inputs=inputs).facts
    assert found["flops"] == 2 * 4 * 512 * 512
    assert found["describe"]["runtime"] == "openvino"
    assert 0 < found["value"] < math.inf
