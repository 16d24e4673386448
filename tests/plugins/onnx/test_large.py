"""Models whose weights are too large for one file: what is made of them, and how much memory that takes."""

from __future__ import annotations

import json
from collections import Counter

import digits
import numpy as np
import onnx
import onnx_models as models
import pytest
from cbuild_onnx.model import files
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeMixed, QuantizeStatic, QuantizeWeights
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

CALIBRATED = {"data": "calibration", "scheme": "u8-affine", "samples": 32}
STEPS = {
    "dynamic": ("cbuild_onnx.quantize.dynamic:quantize", QuantizeDynamic()),
    "static": ("cbuild_onnx.quantize.static:quantize", QuantizeStatic(**CALIBRATED)),
    "mixed": ("cbuild_onnx.quantize.mixed:quantize", QuantizeMixed(**CALIBRATED, metric="sqnr", min_sqnr=38.0)),
    "weights": ("cbuild_onnx.quantize.weights:quantize", QuantizeWeights(bits=8)),
    "gptq": ("cbuild_onnx.quantize.weights:quantize", QuantizeWeights(method="gptq", data="calibration", samples=32)),
}


def tensors(directory):
    """Name → array of every weight, and the operators. ONNX Runtime orders them in another way beside external data."""
    model = onnx.load(directory / "model.onnx")
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return arrays, Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("step", STEPS)
def test_external_weights_are_quantized_to_the_same(step, technique, exported, mlp, tmp_path, monkeypatch):
    run, params = STEPS[step]
    source = mlp if step in ("weights", "gptq") else exported
    small = technique(run, source, params)
    monkeypatch.setattr(files, "INLINE_LIMIT", 1_000)
    beside = tmp_path / "beside"
    beside.mkdir()
    files.write(files.read(files.find(source)), beside)
    assert sorted(path.name for path in beside.iterdir()) == ["model.onnx", "model.onnx.data"]
    large = technique(run, beside, params)
    assert (large.out / "model.onnx.data").is_file()
    files.validate(large.out)
    assert {**small.facts, "bytes": 0, "bytes_before": 0} == {**large.facts, "bytes": 0, "bytes_before": 0}
    (wanted, operators), (found, same_operators) = tensors(small.out), tensors(large.out)
    assert operators == same_operators
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_what_is_made_is_what_the_library_makes(technique, exported, tmp_path):
    """quantize_dynamic is not called, for the memory it takes."""
    made = technique("cbuild_onnx.quantize.dynamic:quantize", exported, QuantizeDynamic(weights="int8")).out
    quant_pre_process(str(exported / "model.onnx"), str(tmp_path / "prepared.onnx"), skip_symbolic_shape=True)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    quantize_dynamic(
        tmp_path / "prepared.onnx",
        theirs / "model.onnx",
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    (found, operators), (wanted, their_operators) = tensors(made), tensors(theirs)
    assert operators == their_operators
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    feeds = {"image": digits.held_out()[0]["image"][:20]}
    for one, other in zip(digits.outputs(made, feeds).values(), digits.outputs(theirs, feeds).values(), strict=True):
        np.testing.assert_array_equal(one, other)


PEAK = """
import json, pathlib, sys
import digits
from cbuild_onnx.model import files
from cbuild_onnx.quantize import dynamic, static, weights
from cbuild_onnx.quantize.params import QuantizeDynamic, QuantizeStatic, QuantizeWeights

def resident(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

files.INLINE_LIMIT = 1_000_000
step, subject, place = sys.argv[1], *map(pathlib.Path, sys.argv[2:])
params = {"dynamic": QuantizeDynamic(), "weights": QuantizeWeights(bits=8)}[step]
before = resident("VmRSS")
digits.apply(f"cbuild_onnx.quantize.{step}:quantize", subject, params, place)
print(json.dumps(resident("VmHWM") - before))
"""


@pytest.mark.parametrize("step", ["dynamic", "weights"])
def test_the_weights_are_not_all_taken_into_memory(step, python, tmp_path):
    """The library alone takes three times the model. What is left: the file as the runtime maps it, the 8-bit weights,
    and one matrix with what is made of it."""
    subject = tmp_path / "subject"
    size = models.chain(subject, width=1024, layers=48)
    peak = json.loads(python("-c", PEAK, step, subject, tmp_path / "out", cwd=tmp_path))
    assert peak < 1.8 * size, peak / size
