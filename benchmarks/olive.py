"""Our int8 targets beside the same recipe written by hand with the libraries, and beside Olive's, in one run.

A float ONNX model is built with ``cbuild`` and quantized three ways: by targets of a Compressfile, by a dozen lines
that call onnxruntime.quantization or nncf, and by an Olive workflow. Ours is then compared with each of the others,
with the float model, and with itself, which shows what chance and the order in memory do:

* speed: one thread, blocks of runs in turns, models loaded again in each session; the ratio has a 95 % interval over
  sessions (``cbuild_metrics.speed.timing``), and is called faster or slower as ``cbuild compare`` would, where the
  interval lies beyond 1 by more than one percent, which a file differs by from itself;
* quality, on the same samples: McNemar's test of top-1, or for embeddings Spearman's correlation on STS 2014, with a
  95 % interval of the difference over resampled pairs (bootstrap).

Exit status 1 if ours is shown to be slower or worse than the recipe by hand or than Olive's.

Olive wants other versions than ours, so it has an environment of its own; where that has OpenVINO and NNCF, Olive makes
the model for OpenVINO too. Without ``--olive`` its rows are left out.

    python benchmarks/olive.py --olive OLIVE_ENV/bin/python            # the digits CNN
    python benchmarks/olive.py --olive OLIVE_ENV/bin/python --minilm   # and MiniLM: prepare benchmarks/minilm first
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from cbuild_kit import arrays
from cbuild_metrics.speed.params import Latency
from cbuild_metrics.speed.timing import Timed, measure
from cbuild_openvino.runtime import nncf, openvino
from compare import CBUILD, REPO, Command, environment, interleaved
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from scipy.stats import bootstrap, spearmanr

from compressbuild.evaluate.compare import compare_quality, direct_speed

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], np.ndarray]
FLOAT = "float"
ITSELF = "itself"
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
    ``calibration``, ``judged``: names of functions in data.py, the latter gives what quality is measured on."""

    name: str
    place: Path
    model: Mapping[str, Any]
    steps: tuple[Any, ...]
    static: bool
    calibration: str
    judged: str
    batch: int

    def compressfile(self) -> dict[str, Any]:
        ours: dict[str, Any] = {"quantize.static": {"data": "calibration"}}
        if not self.static:  # with the embeddings, which the libraries quantize by default
            ours = {"quantize.dynamic": {"op-types": ["MatMul", "Gemm", "Gather"]}}
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
            "calibration", "test", 64,
        ),
        "MiniLM": Case(
            "MiniLM", minilm, {"factory": "model:build", "weights": weights, "inputs": tokens}, (), False,
            "text", "pairs", 16,
        ),
    }  # fmt: skip


@contextlib.contextmanager
def data_of(case: Case) -> Iterator[Any]:
    """The module data.py of a case."""
    sys.path.insert(0, str(case.place))
    sys.modules.pop("data", None)
    try:
        yield importlib.import_module("data")
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


def olive_workflow(case: Case, model: Path, calibration: Feeds, work: Path, *, for_openvino: bool = False) -> Path:
    """The configuration of the same recipe; returns it."""
    work.mkdir()
    (work / "samples.py").write_text(OLIVE_DATA)
    np.savez(work / "calibration.npz", **calibration)
    passes: dict[str, Any] = {"int8": {"type": "OnnxDynamicQuantization", "per_channel": True}}
    if for_openvino:
        kind = {} if case.static else {"model_type": "TRANSFORMER", "preset": "MIXED"}  # as NNCF takes by itself
        passes = {
            "ir": {"type": "OpenVINOConversion", "static": False, "compress_to_fp16": False},
            "int8": {"type": "OpenVINOQuantization", "data_config": "calibration", "target_device": "cpu", **kind},
        }
    elif case.static:
        passes["int8"] = {
            "type": "OnnxStaticQuantization", "data_config": "calibration", "per_channel": True,
            "activation_type": "uint8", "precision": "int8", "quant_format": "QDQ",
        }  # fmt: skip
    data = {
        "name": "calibration",
        "user_script": str(work / "samples.py"),
        "load_dataset_config": {"type": "calibration_samples", "params": {"data_dir": str(work / "calibration.npz")}},
        "dataloader_config": {"params": {"batch_size": 1 if for_openvino else 32}},
    }
    config = {
        "input_model": {"type": "ONNXModel", "model_path": str(model)},
        "data_configs": [data],
        "passes": passes,
        "output_dir": str(work / "out"),
        "cache_dir": str(work / "cache"),
    }
    (work / "olive.json").write_text(json.dumps(config, indent=1))
    return work / "olive.json"


def by_olive(python: Path, config: Path, suffix: str) -> Path:
    done = subprocess.run(
        [python, "-m", "olive", "run", "--config", config], env=os.environ | {"CI": "1"}, capture_output=True, text=True
    )
    found = sorted((config.parent / "out").rglob(f"*{suffix}"))
    if done.returncode or not found:
        raise SystemExit(f"olive failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return found[0]


def olive_has_openvino(python: Path) -> bool:
    return subprocess.run([python, "-c", "import nncf, openvino"], capture_output=True).returncode == 0


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


Start = Callable[[Path], Run]


@dataclass(frozen=True)
class Subject:
    """One of our targets, and what the same recipe gives otherwise. ``rivals``: name → file."""

    runtime: str
    name: str
    path: Path
    rivals: Mapping[str, Path]
    start: Start


@dataclass
class Answers:
    """What models answer to the judged samples, each asked once. ``labels``: as the loader gives them."""

    case: Case
    names: Sequence[str]
    known: dict[tuple[str, Path], np.ndarray] = field(default_factory=dict)
    labels: np.ndarray = field(default_factory=lambda: np.empty(0))

    def of(self, runtime: str, path: Path, start: Start) -> np.ndarray:
        """N×D."""
        if (runtime, path) not in self.known:
            run, answers, labels = start(path), [], []
            with data_of(self.case) as data:
                for inputs, batch in getattr(data, self.case.judged)():
                    feeds = inputs if isinstance(inputs, Mapping) else {self.names[0]: inputs}
                    answers.append(run(feeds).reshape(len(batch), -1).copy())
                    labels.append(batch)
            self.known[runtime, path], self.labels = np.concatenate(answers), np.concatenate(labels)
        return self.known[runtime, path]

    def compare(self, first: np.ndarray, second: np.ndarray) -> tuple[str, float, float]:
        """(verdict on the second, quality of the first, of the second)."""
        if self.case.static:
            right = [(answers.argmax(1) == self.labels).tolist() for answers in (first, second)]
            found = compare_quality("top1", *right)
            return found.verdict, found.first, found.second
        order = np.argsort(self.labels[:, 0], kind="stable")  # the two sentences of a pair come together
        scores, cosines = self.labels[order][::2, 2], [cosine(x[order][::2], x[order][1::2]) for x in (first, second)]

        def correlation(similarity: np.ndarray, wanted: np.ndarray) -> float:
            return float(spearmanr(similarity, wanted)[0])

        def difference(one: np.ndarray, other: np.ndarray, wanted: np.ndarray) -> float:
            return correlation(other, wanted) - correlation(one, wanted)

        low, high = bootstrap(
            (*cosines, scores), difference, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=0
        ).confidence_interval
        verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        return f"{verdict} [{low:+.4f}, {high:+.4f}]", *(correlation(each, scores) for each in cosines)


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each row."""
    return np.sum(one * other, axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))


def speed(ours: Path, other: Path, start: Start, feeds: Feeds, params: Latency) -> Any:
    """Ours against the other, in turns (see ``cbuild_metrics.speed.timing``)."""
    random = np.random.default_rng()

    def session() -> list[Timed]:
        gc.collect()
        kept = [np.empty(size, np.uint8) for size in random.integers(1, 1 << 18, 32)][::2]  # to other places in memory
        paths = [ours, other]
        runs = {at: start(paths[at]) for at in random.permutation(2)}
        del kept
        return [Timed(lambda run=runs[at]: run(feeds)) for at in range(2)]

    sample = measure(session, params, time.perf_counter)
    ratio = sample.ratio()
    found = direct_speed(
        "latency",
        {
            "value": 1e3 * sample.time(0).value, "baseline": {"value": 1e3 * sample.time(1).value},
            "ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high,
        },
    )  # fmt: skip
    assert found is not None
    return found


def subjects(case: Case, build: Path, calibration: Feeds, work: Path, olive: Path | None) -> Iterator[Subject]:
    model = build / "float/model.onnx"
    hand = {"by hand": by_hand_ort(case, model, calibration, work / "hand-ort")}
    if olive is not None:
        hand["Olive"] = by_olive(olive, olive_workflow(case, model, calibration, work / "olive"), ".onnx")
    nncf_made = {"by hand": by_hand_nncf(case, model, calibration, work / "hand-nncf")}
    if olive is not None and olive_has_openvino(olive):
        config = olive_workflow(case, model, calibration, work / "olive-openvino", for_openvino=True)
        nncf_made["Olive"] = by_olive(olive, config, ".xml")
    compared, reference = "ONNX Runtime", {FLOAT: model}
    yield Subject(compared, "quantized by ONNX Runtime", build / "ort/model.onnx", hand | reference, on_onnxruntime)
    compared = "OpenVINO"
    yield Subject(compared, "openvino.quantize", build / "openvino/model.xml", nncf_made | reference, on_openvino)
    if case.static:
        yield Subject(compared, "quantize.static", build / "openvino-qdq/model.xml", hand | reference, on_openvino)


def table(case: Case, work: Path, olive: Path | None, params: Latency, failed: list[str]) -> Iterator[str]:
    """Lines; what ours is shown to be slower or worse than goes into ``failed``."""
    project = work / "project"
    project.mkdir(parents=True)
    (project / "Compressfile").write_text(json.dumps(case.compressfile(), indent=1))
    built = subprocess.run([CBUILD, "all"], cwd=project, env=environment(), capture_output=True, text=True)
    if built.returncode:
        raise SystemExit(f"cbuild failed:\n{built.stdout[-2000:]}{built.stderr[-2000:]}")
    build = project / "build"
    model = build / "float/model.onnx"
    names = [item.name for item in ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()]
    with data_of(case) as data:
        calibration, _ = arrays(getattr(data, case.calibration)(), names, limit=512 if case.static else 300)
    batch = {name: x[: case.batch] for name, x in calibration.items()}
    answers = Answers(case, names)
    quality = "top-1" if case.static else "Spearman"
    yield f"\n## {case.name}, batch {case.batch}, one thread\n"
    yield f"| runtime | ours | against | ms | its ms | × [95 %] | speed | {quality} | its {quality} | quality |"
    yield "|---" * 10 + "|"
    for one in subjects(case, build, calibration, work, olive):
        own = answers.of(one.runtime, one.path, one.start)
        for name, path in {**one.rivals, ITSELF: one.path}.items():
            took = speed(one.path, path, one.start, batch, params)
            verdict, theirs, good = answers.compare(answers.of(one.runtime, path, one.start), own)
            cells = (
                one.runtime, one.name, name, f"{took.second:.3f}", f"{took.first:.3f}",
                f"{took.ratio:.3f} [{took.low:.3f}–{took.high:.3f}]", took.verdict,
                f"{good:.4f}", f"{theirs:.4f}", verdict,
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"
            if name not in (FLOAT, ITSELF) and (took.verdict == "slower" or verdict.startswith("worse")):
                failed.append(f"{case.name}, {one.runtime}, {one.name} against {name}: {took.verdict}, {verdict}")
    if olive is not None:
        env = environment(CI="1")
        config = str(work / "olive/olive.json")
        words = {
            "cbuild, nothing changed": Command([CBUILD, "ort"], project, env),
            "olive, all cached": Command([str(olive), "-m", "olive", "run", "--config", config], work, env),
        }
        subprocess.run([CBUILD, "ort"], cwd=project, env=env, capture_output=True, check=True)
        yield "\n| whole process | seconds | × |\n|---|---|---|"
        for name, timing in interleaved(words, 3).items():
            yield f"| {name} | {timing.median:.3f} | {timing.ratio:.0f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--olive", type=Path, help="the python of an environment with olive-ai")
    parser.add_argument("--minilm", action="store_true", help="MiniLM too")
    parser.add_argument("--sessions", type=int, default=16, help="of each comparison; four at least")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each comparison")
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
    elif not olive_has_openvino(olive):
        print("Olive left out on OpenVINO: its environment has no openvino and nncf")
    params = Latency(sessions=options.sessions, seconds=options.seconds, blocks=10_000)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="olive-") as work:
        for case in chosen.values():
            for line in table(case, Path(work, case.name.replace(" ", "-")), olive, params, failed):
                print(line, flush=True)
    print("\n" + ("\n".join(failed) if failed else "ours is nowhere shown to be slower or worse"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
