"""Peak memory of steps on a model with gigabytes of external data, as a ratio to its size.

An ONNX model of matrix products is written to a scratch directory, matrix by matrix, and taken through a build: import,
optimisation, compilation by ONNX Runtime, publishing, and, for comparison, steps that rewrite every weight. The engine
reports the highest resident size of each worker (VmHWM); that of the engine itself is read while it runs. Steps that
leave the weights as they are may take 1.5 times the model.

    python benchmarks/large_model.py --scratch DIR             # 3 GB: minutes, 8 times that much disk
    python benchmarks/large_model.py --scratch DIR --gigabytes 0.5
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from compare import CBUILD, environment
from onnx import TensorProto, helper

WIDTH = 4096
LIMIT = 1.5
COMPRESSFILE = """
version: 1
models: {big: {file: model.onnx, files: [model.onnx.data]}}
platforms:
  cpu: {backend: onnxruntime}
  as-it-came: {backend: onnxruntime, save-optimized: false}
targets:
  imported: {from: big}
  optimised: {from: big, steps: [optimize.onnx: {method: basic}]}
  compiled: {from: big, platform: cpu}
  passed: {from: big, platform: as-it-came}
  half: {from: big, steps: [convert.fp16]}
  weights8: {from: big, steps: [quantize.weights: {bits: 8}]}
  dynamic8: {from: big, steps: [quantize.dynamic]}
"""
REWRITES = ("half", "weights8", "dynamic8")


@dataclass(frozen=True)
class Row:
    """``peak``: bytes. ``passes``: whether the step leaves the weights as they are."""

    step: str
    seconds: float
    peak: int
    passes: bool = True


def write_model(directory: Path, size: float) -> int:
    """A chain of matrix products with about ``size`` bytes of weights in ``model.onnx.data``; the bytes written."""
    layers = max(1, round(size / (4 * WIDTH * WIDTH)))
    rng = np.random.default_rng(0)
    nodes, tensors, offset, x = [], [], 0, "x"
    with (directory / "model.onnx.data").open("wb") as data:
        for number in range(layers):
            weight = rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32((2 / WIDTH) ** 0.5)
            data.write(memoryview(weight))
            tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "model.onnx.data"), ("offset", offset), ("length", weight.nbytes)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            offset += weight.nbytes
            nodes.append(helper.make_node("MatMul", [x, tensor.name], [f"y{number}"], name=f"product{number}"))
            nodes.append(helper.make_node("Relu", [f"y{number}"], [f"x{number}"], name=f"relu{number}"))
            x = f"x{number}"
    value = helper.make_tensor_value_info
    ends = [value("x", TensorProto.FLOAT, ["batch", WIDTH])], [value(x, TensorProto.FLOAT, ["batch", WIDTH])]
    model = helper.make_model(
        helper.make_graph(nodes, "large", *ends, tensors), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    onnx.save(model, directory / "model.onnx")
    return offset


def high_water(pid: int) -> int:
    """Highest resident size of a process so far, bytes; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
    return int(line.split()[1]) * 1024 if line else 0


def build(project: Path, target: str) -> Iterator[Row]:
    """The steps that ran for a target, and the engine with its hashing and publishing."""
    began = time.perf_counter()
    engine = 0
    with (project / "events").open("w+") as out:
        process = subprocess.Popen([CBUILD, target, "--json"], cwd=project, env=environment(), stdout=out)
        while process.poll() is None:
            engine = max(engine, high_water(process.pid))
            time.sleep(0.05)
        out.seek(0)
        events = [json.loads(line) for line in out]
    failed = [event["error"] for event in events if event.get("status") == "failed" and "error" in event]
    if process.returncode:
        raise SystemExit(f"cbuild {target}: exit {process.returncode}: {'; '.join(failed)}")
    for event in events:
        if event["event"] == "node-finished" and event["status"] == "built" and event["peak_rss"]:
            yield Row(event["label"], event["seconds"], event["peak_rss"], target not in REWRITES)
    yield Row(f"{target}: the engine", time.perf_counter() - began, engine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scratch", type=Path, required=True, help="a directory with room for 8 times the model")
    parser.add_argument("--gigabytes", type=float, default=3.0)
    options = parser.parse_args()
    project = Path(tempfile.mkdtemp(prefix="large-model-", dir=options.scratch))
    rows = []
    try:
        size = write_model(project, options.gigabytes * 1e9)
        (project / "Compressfile").write_text(COMPRESSFILE)
        print(f"model: {size / 1e9:.2f} GB of external data")
        print("| step | seconds | peak GB | × model | |\n|---|---|---|---|---|")
        for target in ("imported", "optimised", "compiled", "passed", *REWRITES):
            for row in build(project, target):
                rows.append(row)
                ratio = row.peak / size
                verdict = "" if not row.passes else ("ok" if ratio <= LIMIT else f"over {LIMIT}")
                cells = (row.step, f"{row.seconds:.1f}", f"{row.peak / 1e9:.2f}", f"{ratio:.2f}", verdict)
                print(f"| {' | '.join(cells)} |", flush=True)
            shutil.rmtree(project / "build")
    finally:
        shutil.rmtree(project)
    if any(row.passes and row.peak > LIMIT * size for row in rows):
        raise SystemExit(f"a step that leaves the weights alone took more than {LIMIT} times the model")


if __name__ == "__main__":
    main()
