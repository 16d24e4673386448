"""What each technique does to size, MACs, latency and accuracy of four small classifiers of digits.

For a CNN, a transformer encoder, a GRU and an LSTM a Compressfile is written with a target for each technique (and a
training after it where it needs one), built with ``cbuild`` and read back from ``build/*/metrics.json``. The table goes
into docs/techniques/README.md, between its two markers.

    python benchmarks/techniques.py            # all; minutes
    python benchmarks/techniques.py --keep DIR # keep the projects there, and the work for the next run
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from compressbuild.registry import discover

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "techniques" / "README.md"
BEGIN, END = "<!-- benchmarks/techniques.py -->", "<!-- end -->"
Step = Mapping[str, Any] | str

RECOVER: Step = {"distill": {"teacher": "trained", "data": "train", "epochs": 12, "lr": 0.005}}
EXPORT: Step = "export.onnx"
FACTORIES = {
    "cnn": "examples.digits.model:build",
    "transformer": "sequence_models:transformer",
    "gru": "sequence_models:gru",
    "lstm": "sequence_models:lstm",
}
EVERY = tuple(FACTORIES)
MADE_ONNX = ("quantize.qat",)
METRICS = ["top1", {"latency": {"batch": 64}}, "size", "compressed-size", "macs"]
PLATFORMS = {"cpu": {"backend": "onnxruntime", "threads": 1}, "openvino": {"backend": "openvino", "threads": 1}}


@dataclass(frozen=True)
class Row:
    """A technique with its parameters, on some architectures; ``recover``: distilled from the original afterwards.

    ``on``: the platform, or ``torch`` for what shows in a torch-model only; ``opset``: of the export before it.
    """

    technique: str
    params: Mapping[str, Any]
    of: tuple[str, ...] = EVERY
    recover: bool = False
    label: str = ""
    on: str = "cpu"
    opset: int = 20

    @property
    def base(self) -> str:
        """The target that its ratios are to."""
        return {"cpu": "base", "torch": "trained"}.get(self.on, f"base-{self.on}")

    @property
    def name(self) -> str:
        words = self.label or " ".join(f"{key} {value}" for key, value in self.params.items() if key not in HIDDEN)
        return f"`{self.technique}` {words}".strip() + (", then trained" if self.recover else "")


HIDDEN = ("data", "epochs", "end", "groups", "heads", "hidden", "ignore", "layers", "lr", "map", "op-types", "teacher")
LONG = {"data": "train", "epochs": 30, "end": 15, "lr": 0.003, "teacher": "trained"}
RECURRENT = ("gru", "lstm")
CONVOLUTIONS = [["blocks.0.conv1", "blocks.0.conv2"], ["blocks.1.conv2", "blocks.2.conv1", "blocks.2.conv2"]]
ON_TORCH = (
    Row("prune.magnitude", {"sparsity": 0.7}, recover=True),
    Row("prune.gradual", {"sparsity": 0.8, **LONG}, label="sparsity 0.8 in 30 epochs"),
    Row("prune.movement", {"sparsity": 0.7, **LONG}, label="sparsity 0.7 in 30 epochs"),
    Row("prune.nm", {"n": 2, "m": 4}, recover=True),
    Row("prune.channels", {"ratio": 0.5}, ("cnn",), recover=True),
    Row("prune.heads", {"ratio": 0.5}, ("transformer",), recover=True),
    Row("prune.layers", {"count": 1, "by": "last"}, ("transformer",), recover=True),
    Row("prune.recurrent", {"mode": "units", "ratio": 0.5}, RECURRENT, recover=True),
    Row("prune.recurrent", {"mode": "weights", "ratio": 0.7}, RECURRENT, recover=True),
    Row("factorize.lowrank", {"ratio": 0.4, "ignore": ["classify"]}, ("cnn",), recover=True),
    Row("factorize.lowrank", {"ratio": 0.4, "layers": ["encoder.*"]}, ("transformer",), recover=True),
    Row("replace.depthwise", {"multiplier": 1}, ("cnn",), recover=True),
    Row("replace.activation", {"map": {"ReLU": "Hardswish"}}, ("cnn",), True, "ReLU by Hardswish"),
    Row("replace.activation", {"map": {"GELU": "ReLU"}}, ("transformer",), True, "GELU by ReLU"),
    Row("fold.batchnorm", {}, ("cnn",)),
    Row("share.layers", {"groups": CONVOLUTIONS}, ("cnn",), True, "5 convolutions as 2", "torch"),
    Row("share.layers", {"groups": [["encoder.layers.0", "encoder.layers.1"]]}, ("transformer",), True, on="torch"),
    Row("share.cluster", {"bits": 4, "data": "train", "epochs": 3}, on="torch"),
    Row("quantize.qat", {"data": "train", "epochs": 2, "lr": 0.0005}, ("cnn", "transformer")),
)
ON_ONNX = (
    Row("optimize.onnx", {"method": "slim"}),
    Row("optimize.onnx", {"method": "extended"}),
    Row("quantize.static", {"data": "calibration"}),
    Row("quantize.mixed", {"data": "calibration", "max-drop": 0.005}, ("cnn", "transformer")),
    Row("quantize.dynamic", {}, ("transformer",)),
    Row("quantize.dynamic", {"op-types": ["LSTM", "Gemm"]}, ("lstm",)),
    Row("quantize.weights", {"bits": 4}, ("transformer",)),
    Row("quantize.weights", {"bits": 8, "op-types": ["Conv", "Gemm"]}, ("cnn",)),
    Row("quantize.weights", {"bits": 8, "op-types": ["GRU", "Gemm"]}, ("gru",)),
    Row("quantize.weights", {"bits": 8, "op-types": ["LSTM", "Gemm"]}, ("lstm",)),
    Row("convert.fp16", {}),
    Row("convert.bf16", {}, on="openvino", opset=22),
    Row("openvino.quantize", {"data": "calibration"}, on="openvino"),
    Row("openvino.compress", {}, ("transformer",), on="openvino"),
)


def compressfile(architecture: str, rows: Mapping[str, Row]) -> dict[str, Any]:
    targets: dict[str, Any] = {
        "trained": {"from": "net", "steps": [{"train": {"data": "train", "epochs": 10, "lr": 0.01}}]},
        "onnx": {"from": "trained", "steps": [EXPORT]},
        "base": {"from": "onnx", "platform": "cpu"},
        "base-openvino": {"from": "onnx", "platform": "openvino"},
    }
    for name, row in rows.items():
        step: Step = {row.technique: dict(row.params)} if row.params else row.technique
        if row in ON_ONNX:
            export: Step = EXPORT if row.opset == 20 else {EXPORT: {"opset": row.opset}}
            steps = [export, step]
        else:
            export_too = row.on != "torch" and row.technique not in MADE_ONNX
            steps = [step, *([RECOVER] if row.recover else []), *([EXPORT] if export_too else [])]
        targets[name] = {"from": "trained", "steps": steps}
        if row.on != "torch":
            # ONNX Runtime, which counts MACs, runs no bfloat16 on a CPU
            own = {"metrics": METRICS[:-1]} if row.technique == "convert.bf16" else {}
            targets[name] |= {"platform": row.on, "evaluate": {"baseline": row.base, **own}}
    return {
        "version": 1,
        "models": {
            "net": {
                "factory": FACTORIES[architecture],
                "inputs": {"image": {"shape": ["batch", 1, 8, 8], "dtype": "float32"}},
            }
        },
        "datasets": {name: {"loader": f"examples.digits.data:{name}"} for name in ("train", "calibration", "test")},
        "platforms": PLATFORMS,
        "evaluate": {"data": "test", "metrics": METRICS},
        "preload": ["sklearn.datasets"],
        "targets": targets,
    }


def build(architecture: str, place: Path, rows: Mapping[str, Row], *, remeasure: bool = False) -> dict[str, str]:
    """Build every target; why each that is not published was not."""
    project = place / architecture
    project.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "examples", project / "examples", dirs_exist_ok=True, ignore=ignored)
    shutil.copyfile(REPO / "tests" / "plugins" / "sequence_models.py", project / "sequence_models.py")
    (project / "Compressfile").write_text(json.dumps(compressfile(architecture, rows), indent=1))
    command = [sys.executable, "-m", "compressbuild", "all", "-k", "--json", *(["--remeasure"] if remeasure else [])]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    failed: dict[str, str] = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event["event"] == "node-finished" and event.get("status") == "failed":
            error = event["error"]
            message = error if isinstance(error, str) else error.get("message", "")
            failed[event["node"].split("/")[0]] = message.splitlines()[0]
    if not (project / "build" / "base").exists():
        raise SystemExit(f"{architecture}: {done.stderr}{failed}")
    return failed


def cells(project: Path, target: str, against: str = "base", *, quiet: bool) -> list[str]:
    """Size, compressed size, MACs and latency as ratios to the baseline, top-1 and its change."""
    found, base = (
        json.loads((project / "build" / n / "metrics.json").read_text())["metrics"] for n in (target, against)
    )

    def ratio(metric: str) -> str:
        if metric not in found or not base[metric]["value"]:
            return "–"
        return f"{found[metric]['value'] / base[metric]['value']:.2f}"

    latency = found.get("latency", {})
    doubtful = "~" if latency.get("noisy") else ""
    change = found["top1"]["value"] - base["top1"]["value"]
    return [
        ratio("size"),
        ratio("compressed-size"),
        ratio("macs"),
        f"{doubtful}{latency['ratio']:.2f}" if quiet and "ratio" in latency else "–",
        f"{found['top1']['value']:.3f}",
        f"{100 * change:+.1f}",
    ]


def is_quiet() -> bool:
    """Whether this machine had cores to spare: beside others a run of a model that outlasts a time slice waits."""
    return os.getloadavg()[1] < 1.25 * (os.cpu_count() or 1)


def table(place: Path, known: set[str], *, remeasure: bool = False) -> str:
    rows = [row for row in (*ON_TORCH, *ON_ONNX) if row.technique in known]
    wanted = {a: {f"row{i}": row for i, row in enumerate(rows) if a in row.of} for a in EVERY}
    problems = {a: build(a, place, wanted[a], remeasure=remeasure) for a in EVERY}
    quiet = is_quiet()
    lines = [
        f"Digits, {date.today()}, one seed: ± 1.5 points of accuracy are noise. Ratios: to the same model as trained.",
        "Latency: ONNX Runtime (`openvino.*` and bf16: OpenVINO, beside OpenVINO), one thread, batch 64, interleaved",
        "with it; ~: noisy. `share.*` are torch-models, the others ONNX or IR. By `benchmarks/techniques.py`.",
        *([] if quiet else ["Latency is left out: other programs kept the machine busy."]),
        "",
        "| technique | model | size | zipped | MACs | latency | top-1 | points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for a in EVERY:
        lines.append(f"| as trained | {a} | " + " | ".join(cells(place / a, "base", quiet=quiet)) + " |")
    for index, row in enumerate(rows):
        for a in row.of:
            target = f"row{index}"
            if (place / a / "build" / target / "metrics.json").exists() and target not in problems[a]:
                lines.append(
                    f"| {row.name} | {a} | " + " | ".join(cells(place / a, target, row.base, quiet=quiet)) + " |"
                )
            else:
                lines.append(f"| {row.name} | {a} | {problems[a].get(target, 'not built')} | | | | | |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="directory for the projects (default: a temporary one)")
    parser.add_argument("--print", action="store_true", help="print the table instead of writing it into the page")
    parser.add_argument("--remeasure", action="store_true", help="measure latency again where it is cached")
    arguments = parser.parse_args()
    known = set(discover(cache=None).techniques)
    with tempfile.TemporaryDirectory() as temporary:
        made = table((arguments.keep or Path(temporary)).resolve(), known, remeasure=arguments.remeasure)
    if arguments.print:
        print(made)
        return 0
    text = PAGE.read_text(encoding="utf-8")
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Measured\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{made}{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
