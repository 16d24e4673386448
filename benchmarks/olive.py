"""Our int8 targets beside the same recipe written by hand with the libraries, and beside Olive's, in one run.

A float ONNX model is built with ``cbuild`` and quantized three ways: by targets of a Compressfile, by a dozen lines
that call onnxruntime.quantization or nncf, and by an Olive workflow. All of them then run in one process, one thread,
blocks of runs in turns. Olive wants other versions than ours, so it has an environment of its own; OpenVINO is not in
it: its ONNX file is run on OpenVINO instead. Without ``--olive`` its rows are left out.

    python benchmarks/olive.py --olive OLIVE_ENV/bin/python            # the digits CNN
    python benchmarks/olive.py --olive OLIVE_ENV/bin/python --minilm   # and MiniLM: prepare benchmarks/minilm first
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from cbuild_data import arrays
from cbuild_openvino.runtime import nncf, openvino
from compare import CBUILD, REPO, Command, environment, interleaved
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], np.ndarray]
OLIVE_DATA = """
import numpy as np
from olive.data.registry import Registry

@Registry.register_dataset()
def calibration_samples(data_dir, **_):
    columns = dict(np.load(data_dir))
    count = len(next(iter(columns.values())))
    return [({name: column[i] for name, column in columns.items()}, 0) for i in range(count)]
"""


@dataclass(frozen=True)
class Case:
    """``static``: activations calibrated ahead, else dynamic. ``place``: the directory of model.py and data.py.
    ``calibration``, ``held_out``: names of functions in data.py, and of the latter how many samples are skipped and
    used."""

    name: str
    place: Path
    model: Mapping[str, Any]
    steps: tuple[Any, ...]
    static: bool
    calibration: str
    held_out: str
    skip: int
    samples: int
    batch: int

    def compressfile(self) -> dict[str, Any]:
        ours = {"quantize.static": {"data": "calibration"}} if self.static else "quantize.dynamic"
        kind = "any" if self.static else "transformer"
        smooth = {} if self.static else {"smooth": 0.95}  # as NNCF does by itself
        nncf_step = {"openvino.quantize": {"data": "calibration", "model-type": kind, **smooth}}
        return {
            "version": 1,
            "outside": [str(self.place)],
            "python-path": [str(self.place)],
            "models": {"net": self.model},
            "datasets": {
                name: {"loader": f"data:{loader}", "files": sorted(map(str, (self.place / "data").glob("*.*")))}
                for name, loader in (("train", "train"), ("calibration", self.calibration))
                if loader != "train" or self.static
            },
            "platforms": {"cpu": {"backend": "onnxruntime"}, "intel": {"backend": "openvino"}},
            "targets": {
                "float": {"from": "net", "steps": [*self.steps, "export.onnx"]},
                "ort": {"from": "float", "steps": [ours], "platform": "cpu"},
                "openvino": {"from": "float", "steps": [nncf_step], "platform": "intel"},
                "openvino-qdq": {"from": "float", "steps": [ours], "platform": "intel"},
            },
        }


def cases() -> dict[str, Case]:
    image = {"image": {"shape": ["batch", 1, 8, 8], "dtype": "float32"}}
    digits, minilm = REPO / "examples/digits", REPO / "benchmarks/minilm"
    tokens = {name: {"shape": ["batch", "sequence"], "dtype": "int64"} for name in ("input_ids", "attention_mask")}
    train = {"train": {"data": "train", "epochs": 10, "lr": 0.003}}
    weights = str(minilm / "data/minilm.safetensors")
    return {
        "digits CNN": Case(
            "digits CNN", digits, {"factory": "model:build", "inputs": image}, (train,), True,
            "calibration", "test", 0, 597, 64,
        ),
        "MiniLM": Case(
            "MiniLM", minilm, {"factory": "model:build", "weights": weights, "inputs": tokens}, (), False,
            "text", "text", 300, 256, 16,
        ),
    }  # fmt: skip


def load(case: Case, function: str, names: list[str], samples: int) -> tuple[Feeds, np.ndarray]:
    sys.path.insert(0, str(case.place))
    sys.modules.pop("data", None)
    try:
        return arrays(getattr(importlib.import_module("data"), function)(), names, limit=samples)
    finally:
        sys.path.remove(str(case.place))


# -- the three ways ------------------------------------------------------------------------------------------------


def by_hand_ort(case: Case, model: Path, calibration: Feeds, out: Path) -> Path:
    out.mkdir()
    quant_pre_process(str(model), str(out / "prepared.onnx"), skip_symbolic_shape=True)
    if not case.static:
        quantize_dynamic(out / "prepared.onnx", out / "model.onnx", per_channel=True, weight_type=QuantType.QInt8)
        return out / "model.onnx"
    count = len(next(iter(calibration.values())))

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.at = iter(range(0, count, 32))

        def get_next(self) -> Feeds | None:
            start = next(self.at, None)
            return None if start is None else {name: x[start : start + 32] for name, x in calibration.items()}

    quantize_static(
        out / "prepared.onnx", out / "model.onnx", Reader(), per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return out / "model.onnx"


def by_hand_nncf(case: Case, model: Path, calibration: Feeds, out: Path) -> Path:
    library = nncf()
    count = len(next(iter(calibration.values())))
    items = [{name: x[i : i + 1] for name, x in calibration.items()} for i in range(count)]
    kind = None if case.static else library.ModelType.TRANSFORMER
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = library.Dataset(items)
        made = library.quantize(
            openvino.Core().read_model(model), dataset, model_type=kind, subset_size=min(300, count)
        )
    out.mkdir()
    openvino.save_model(made, out / "model.xml")
    return out / "model.xml"


def olive_workflow(case: Case, model: Path, calibration: Feeds, work: Path) -> Path:
    """The configuration of the same recipe; returns it."""
    work.mkdir()
    (work / "samples.py").write_text(OLIVE_DATA)
    np.savez(work / "calibration.npz", **calibration)
    step: dict[str, Any] = {"type": "OnnxDynamicQuantization", "per_channel": True}
    if case.static:
        step = {
            "type": "OnnxStaticQuantization", "data_config": "calibration", "per_channel": True,
            "activation_type": "uint8", "precision": "int8", "quant_format": "QDQ",
        }  # fmt: skip
    data = {
        "name": "calibration",
        "user_script": str(work / "samples.py"),
        "load_dataset_config": {"type": "calibration_samples", "params": {"data_dir": str(work / "calibration.npz")}},
        "dataloader_config": {"params": {"batch_size": 32}},
    }
    config = {
        "input_model": {"type": "ONNXModel", "model_path": str(model)},
        "data_configs": [data],
        "passes": {"int8": step},
        "output_dir": str(work / "out"),
        "cache_dir": str(work / "cache"),
    }
    (work / "olive.json").write_text(json.dumps(config, indent=1))
    return work / "olive.json"


def by_olive(python: Path, config: Path) -> Path:
    done = subprocess.run(
        [python, "-m", "olive", "run", "--config", config], env=os.environ | {"CI": "1"}, capture_output=True, text=True
    )
    found = sorted((config.parent / "out").rglob("*.onnx"))
    if done.returncode or not found:
        raise SystemExit(f"olive failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return found[0]


# -- measuring -----------------------------------------------------------------------------------------------------


def on_onnxruntime(path: Path) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    made = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feeds: made.run(None, feeds)[0]


def on_openvino(path: Path) -> Run:
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    made = openvino.Core().compile_model(str(path), "CPU", settings | {"ENABLE_CPU_PINNING": False})
    request = made.create_infer_request()
    return lambda feeds: next(iter(request.infer(feeds).values()))


def timed(runs: Mapping[str, Run], feeds: Feeds, *, blocks: int, calls: int = 20) -> dict[str, list[float]]:
    """Seconds of one call in each block, all in turns, the first one another each time."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(blocks + 3):
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            began = time.perf_counter()
            for _ in range(calls):
                runs[name](feeds)
            if number >= 3:
                found[name].append((time.perf_counter() - began) / calls)
    return found


def good(case: Case, run: Run, reference: Run, feeds: Feeds, labels: np.ndarray) -> float:
    """Accuracy, or for embeddings the mean cosine to the float model's."""
    starts = range(0, len(labels), case.batch)
    pairs = [
        (run(chosen), reference(chosen))
        for chosen in ({name: x[at : at + case.batch] for name, x in feeds.items()} for at in starts)
    ]
    got, wanted = (np.concatenate([pair[side].reshape(len(pair[side]), -1) for pair in pairs]) for side in (0, 1))
    if case.static:
        return float((got.argmax(1) == labels).mean())
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(np.mean(np.sum(got * wanted, axis=1) / norms))


def table(case: Case, work: Path, olive: Path | None, blocks: int) -> Iterator[str]:
    project = work / "project"
    project.mkdir(parents=True)
    (project / "Compressfile").write_text(json.dumps(case.compressfile(), indent=1))
    built = subprocess.run([CBUILD, "all"], cwd=project, env=environment(), capture_output=True, text=True)
    if built.returncode:
        raise SystemExit(f"cbuild failed:\n{built.stdout[-2000:]}{built.stderr[-2000:]}")
    build = project / "build"
    model = build / "float/model.onnx"
    names = [item.name for item in ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()]
    calibration, _ = load(case, case.calibration, names, 512 if case.static else 300)
    files = {
        "ONNX Runtime": {
            "by hand": by_hand_ort(case, model, calibration, work / "hand-ort"),
            "float": model,
            "ours": build / "ort/model.onnx",
        },
        "OpenVINO": {
            "by hand (nncf)": by_hand_nncf(case, model, calibration, work / "hand-nncf"),
            "float": model,
            "ours (openvino.quantize)": build / "openvino/model.xml",
        },
    }
    if case.static:
        files["OpenVINO"]["ours (quantize.static)"] = build / "openvino-qdq/model.xml"
    if olive is not None:
        config = olive_workflow(case, model, calibration, work / "olive")
        made = by_olive(olive, config)
        files["ONNX Runtime"]["Olive"] = made
        if case.static:
            files["OpenVINO"]["Olive's ONNX"] = made
    feeds, labels = load(case, case.held_out, names, case.skip + case.samples)
    feeds, labels = {name: x[case.skip :] for name, x in feeds.items()}, labels[case.skip :]
    batch = {name: x[: case.batch] for name, x in feeds.items()}
    yield f"\n## {case.name}, batch {case.batch}, one thread\n"
    quality = "top-1" if case.static else "cosine to float"
    yield f"| runtime | int8 | ms | × by hand | {quality} |\n|---|---|---|---|---|"
    for runtime, by in files.items():
        start = on_onnxruntime if runtime == "ONNX Runtime" else on_openvino
        runs = {name: start(path) for name, path in by.items()}
        times = timed(runs, batch, blocks=blocks)
        base = times[next(iter(runs))]
        for name, seconds in times.items():
            ratio = statistics.median(x / y for x, y in zip(seconds, base, strict=True))
            score = good(case, runs[name], on_onnxruntime(model), feeds, labels)
            yield f"| {runtime} | {name} | {1e3 * statistics.median(seconds):.3f} | {ratio:.2f} | {score:.4f} |"
    if olive is not None:
        env = environment(CI="1")
        words = {
            "cbuild, nothing changed": Command([CBUILD, "ort"], project, env),
            "olive, all cached": Command([str(olive), "-m", "olive", "run", "--config", str(config)], work, env),
        }
        subprocess.run([CBUILD, "ort"], cwd=project, env=env, capture_output=True, check=True)
        yield "\n| whole process | seconds | × |\n|---|---|---|"
        for name, timing in interleaved(words, 3).items():
            yield f"| {name} | {timing.median:.3f} | {timing.ratio:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--olive", type=Path, help="the python of an environment with olive-ai")
    parser.add_argument("--minilm", action="store_true", help="MiniLM too")
    parser.add_argument("--blocks", type=int, default=60, help="of 20 runs each")
    options = parser.parse_args()
    chosen = cases()
    weights = Path(chosen["MiniLM"].model["weights"])
    if not options.minilm or not weights.is_file():
        if options.minilm:
            print(f"MiniLM left out: {weights} is not there; run benchmarks/minilm/prepare.py")
        del chosen["MiniLM"]
    olive = options.olive
    if olive is None or not olive.is_file():
        print("Olive left out: " + ("--olive is not given" if olive is None else f"{olive} is not there"))
        olive = None
    with tempfile.TemporaryDirectory(prefix="olive-") as work:
        for case in chosen.values():
            for line in table(case, Path(work, case.name.replace(" ", "-")), olive, options.blocks):
                print(line, flush=True)


if __name__ == "__main__":
    main()
