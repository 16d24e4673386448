"""Peak memory of steps on a model with gigabytes of weights, as a ratio to their size.

Two models of matrix products are written to a scratch directory, matrix by matrix: an ONNX file with external data, and
a torch factory with safetensors. Each is taken through builds of one step: import, optimisation, compilation,
publishing, export, and steps that rewrite every weight. The engine reports the highest resident size of each worker
(VmHWM, which counts mapped files); that of the engine itself is read while it runs. Steps that leave the weights as
they are, and convert.fp16, may take 1.5 times the model, where that is over 2 GB: files of up to 1 GB are written with
their weights in one protobuf, which is copied to be written and checked. No limit is set for what else rewrites
weights.

    python benchmarks/large_model.py --scratch DIR             # 3 GB: a quarter of an hour, 8 times that much disk
    python benchmarks/large_model.py --scratch DIR --gigabytes 0.5
    python benchmarks/large_model.py --scratch DIR --only dynamic8 exported
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
PASSES = 1.5  # limit
COMPRESSFILE = """
version: 1
python-path: [.]
models:
  big: {file: model.onnx, files: [model.onnx.data]}
  torch: {factory: net:build, args: {layers: LAYERS}, weights: net.safetensors,
          inputs: {x: {shape: [batch, WIDTH], dtype: float32}}}
datasets: {rows: {loader: net:rows}}
platforms:
  cpu: {backend: onnxruntime}
  as-it-came: {backend: onnxruntime, save-optimized: false}
  intel: {backend: openvino}
  intel-unchecked: {backend: openvino, parity: {check: false}}
targets:
  imported: {from: big}
  optimised: {from: big, steps: [optimize.onnx: {method: basic}]}
  compiled: {from: big, platform: cpu}
  passed: {from: big, platform: as-it-came}
  openvino: {from: big, platform: intel-unchecked}
  openvino-checked: {from: big, platform: intel}
  exported: {from: torch, steps: [export.onnx]}
  half: {from: big, steps: [convert.fp16]}
  weights8: {from: big, steps: [quantize.weights: {bits: 8}]}
  dynamic8: {from: big, steps: [quantize.dynamic]}
  static8: {from: big, steps: [quantize.static: {data: rows, scheme: u8-affine, samples: 8}]}
  compressed: {from: big, steps: [openvino.compress: {mode: int8-sym}]}
"""
NET = """
import numpy as np
import torch
from torch import nn

WIDTH = {width}

class Net(nn.Module):
    def __init__(self, layers):
        super().__init__()
        empty = (nn.utils.skip_init(nn.Linear, WIDTH, WIDTH, bias=False) for _ in range(layers))
        self.layers = nn.ModuleList(empty)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x

def build(layers):
    return Net(layers)

def rows():
    yield np.random.default_rng(0).standard_normal((8, WIDTH), np.float32), np.zeros(8, np.int64)
"""
LIMITS = {
    **dict.fromkeys(
        ("imported", "optimised", "compiled", "passed", "openvino", "openvino-checked", "exported", "half"), PASSES
    ),
    **dict.fromkeys(("weights8", "dynamic8", "static8", "compressed"), None),
}


@dataclass(frozen=True)
class Row:
    """``peak``: bytes. ``limit``: times the model, if there is one."""

    step: str
    seconds: float
    peak: int
    limit: float | None

    def verdict(self, size: int) -> str:
        if self.limit is None:
            return ""
        return "ok" if self.peak <= self.limit * size else f"over {self.limit}"


def weights(size: float) -> Iterator[np.ndarray]:
    """Square matrices, ``size`` bytes together, about."""
    rng = np.random.default_rng(0)
    for _ in range(max(1, round(size / (4 * WIDTH * WIDTH)))):
        yield rng.standard_normal((WIDTH, WIDTH), np.float32) * np.float32((2 / WIDTH) ** 0.5)


def write_torch(directory: Path, size: float) -> int:
    """The same chain as a factory in ``net.py`` and ``net.safetensors``, written matrix by matrix; how many there are.

    The format: the length of the header as 8 bytes, the header in JSON, the tensors.
    """
    (directory / "net.py").write_text(NET.format(width=WIDTH))
    layers = max(1, round(size / (4 * WIDTH * WIDTH)))
    each = 4 * WIDTH * WIDTH
    header = json.dumps(
        {
            f"layers.{number}.weight": {
                "dtype": "F32", "shape": [WIDTH, WIDTH], "data_offsets": [number * each, (number + 1) * each],
            }
            for number in range(layers)
        }
    ).encode()  # fmt: skip
    header += b" " * (-len(header) % 8)
    with (directory / "net.safetensors").open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for weight in weights(size):
            out.write(memoryview(weight))
    return layers


def write_model(directory: Path, size: float) -> int:
    """A chain of matrix products with about ``size`` bytes of weights in ``model.onnx.data``; the bytes written."""
    nodes, tensors, offset, x = [], [], 0, "x"
    with (directory / "model.onnx.data").open("wb") as data:
        for number, weight in enumerate(weights(size)):
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


def compressfile(layers: int) -> str:
    return COMPRESSFILE.replace("LAYERS", str(layers)).replace("WIDTH", str(WIDTH))


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
            yield Row(event["label"], event["seconds"], event["peak_rss"], LIMITS[target])
    yield Row(f"{target}: the engine", time.perf_counter() - began, engine, PASSES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scratch", type=Path, required=True, help="a directory with room for 8 times the model")
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="targets to build")
    options = parser.parse_args()
    project = Path(tempfile.mkdtemp(prefix="large-model-", dir=options.scratch))
    rows = []
    try:
        size = write_model(project, options.gigabytes * 1e9)
        layers = write_torch(project, options.gigabytes * 1e9)
        (project / "Compressfile").write_text(compressfile(layers))
        print(f"model: {size / 1e9:.2f} GB of weights")
        print("| step | seconds | peak GB | × model | |\n|---|---|---|---|---|")
        for target in options.only:
            for row in build(project, target):
                rows.append(row)
                cells = (row.step, f"{row.seconds:.1f}", f"{row.peak / 1e9:.2f}", f"{row.peak / size:.2f}")
                print(f"| {' | '.join((*cells, row.verdict(size)))} |", flush=True)
            shutil.rmtree(project / "build")
    finally:
        shutil.rmtree(project)
    over = [row.step for row in rows if row.verdict(size).startswith("over")]
    if over:
        raise SystemExit(f"more memory than allowed: {', '.join(over)}")


if __name__ == "__main__":
    main()
