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

from compressbuild.plugins import discover

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "techniques" / "README.md"
BEGIN, END = "<!-- benchmarks/techniques.py -->", "<!-- end -->"
Step = Mapping[str, Any] | str

RECOVER: Step = {"distill": {"teacher": "trained", "data": "train", "epochs": 6, "lr": 0.005}}
EXPORT: Step = "export.onnx"
FACTORIES = {
    "cnn": "examples.digits.model:build",
    "transformer": "sequence_models:transformer",
    "gru": "sequence_models:gru",
    "lstm": "sequence_models:lstm",
}
EVERY = tuple(FACTORIES)
MADE_ONNX = ("quantize.qat",)


@dataclass(frozen=True)
class Row:
    """A technique with its parameters, on some architectures; ``recover``: distilled from the original afterwards."""

    technique: str
    params: Mapping[str, Any]
    of: tuple[str, ...] = EVERY
    recover: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        words = self.label or " ".join(f"{key} {value}" for key, value in self.params.items() if key not in HIDDEN)
        return f"`{self.technique}` {words}".strip() + (", then trained" if self.recover else "")


HIDDEN = ("data", "epochs", "lr", "teacher", "ignore", "layers", "map", "heads", "hidden")
TRAINED = {"data": "train", "epochs": 6, "lr": 0.003}
ON_TORCH = (
    Row("prune.magnitude", {"sparsity": 0.7}, recover=True),
    Row("prune.gradual", {"sparsity": 0.8, **TRAINED}),
    Row("prune.nm", {"n": 2, "m": 4}, recover=True),
    Row("prune.channels", {"ratio": 0.5}, ("cnn",), recover=True),
    Row("prune.heads", {"ratio": 0.5}, ("transformer",), recover=True),
    Row("prune.layers", {"count": 1, "by": "last"}, ("transformer",), recover=True),
    Row("prune.recurrent", {"mode": "units", "ratio": 0.5}, ("gru", "lstm"), recover=True),
    Row("factorize.lowrank", {"ratio": 0.4, "ignore": ["classify"]}, ("cnn",), recover=True),
    Row("factorize.lowrank", {"ratio": 0.4, "layers": ["encoder.*"]}, ("transformer",), recover=True),
    Row("replace.depthwise", {"multiplier": 1}, ("cnn",), recover=True),
    Row("replace.activation", {"map": {"ReLU": "Hardswish"}}, ("cnn",), True, "ReLU by Hardswish"),
    Row("replace.activation", {"map": {"GELU": "ReLU"}}, ("transformer",), True, "GELU by ReLU"),
    Row("fold.batchnorm", {}, ("cnn",)),
    Row("quantize.qat", {"data": "train", "epochs": 2, "lr": 0.0005}, ("cnn", "transformer")),
)
ON_ONNX = (
    Row("optimize.onnx", {"method": "slim"}),
    Row("optimize.onnx", {"method": "extended"}),
    Row("quantize.static", {"data": "calibration"}),
    Row("quantize.mixed", {"data": "calibration", "max-drop": 0.005}, ("cnn", "transformer")),
    Row("quantize.dynamic", {}, ("transformer", "gru", "lstm")),
    Row("quantize.weights", {"bits": 4}, ("transformer",)),
    Row("convert.fp16", {}),
)


def compressfile(architecture: str, rows: Mapping[str, Row]) -> dict[str, Any]:
    targets: dict[str, Any] = {
        "trained": {"from": "net", "steps": [{"train": {"data": "train", "epochs": 10, "lr": 0.01}}]},
        "onnx": {"from": "trained", "steps": [EXPORT]},
        "base": {"from": "onnx", "platform": "cpu"},
    }
    for name, row in rows.items():
        step: Step = {row.technique: dict(row.params)} if row.params else row.technique
        if row in ON_ONNX:
            targets[name] = {"from": "onnx", "steps": [step], "platform": "cpu"}
            continue
        steps = [step, *([RECOVER] if row.recover else []), *([] if row.technique in MADE_ONNX else [EXPORT])]
        targets[name] = {"from": "trained", "steps": steps, "platform": "cpu"}
    return {
        "version": 1,
        "models": {
            "net": {
                "factory": FACTORIES[architecture],
                "inputs": {"image": {"shape": ["batch", 1, 8, 8], "dtype": "float32"}},
            }
        },
        "datasets": {name: {"loader": f"examples.digits.data:{name}"} for name in ("train", "calibration", "test")},
        "platforms": {"cpu": {"backend": "onnxruntime", "threads": 1}},
        "evaluate": {
            "data": "test",
            "metrics": ["top1", {"latency": {"batch": 64}}, "size", "compressed-size", "macs"],
            "baseline": "base",
        },
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


def cells(project: Path, target: str, *, quiet: bool) -> list[str]:
    """Size, compressed size, MACs and latency as ratios to the baseline, top-1 and its change."""
    found, base = (
        json.loads((project / "build" / n / "metrics.json").read_text())["metrics"] for n in (target, "base")
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
        "Latency: ONNX Runtime, one thread, batch 64, interleaved with it; ~: noisy. By `benchmarks/techniques.py`.",
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
                lines.append(f"| {row.name} | {a} | " + " | ".join(cells(place / a, target, quiet=quiet)) + " |")
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
