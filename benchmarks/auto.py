"""``cbuild tune --recipe auto`` beside Olive's ``optimize`` and the default recipe, on five models, in one run.

Each model is trained on a part of its data by the search itself (``--train``) and judged on the rest. Then three forms
of it are measured, each alternately with the float model in ONNX Runtime:

* what the search chose among recipes and the runtimes that are installed here;
* the default recipe: the first that suits the model on ONNX Runtime, which ``cbuild init`` writes;
* what the workflow of ``olive optimize`` makes of the exported float model for the CPU in 8 bits, with 100 rows to
  calibrate on; on ONNX Runtime.

Olive has an environment of its own; without ``--olive`` its rows are left out. MiniLM needs the weights that
``benchmarks/minilm/prepare.py`` fetches. A loss is judged as the search judges it: by the 95 % interval over the same
samples, where the metric knows which samples are right. Exit status 1 if ours may lose more than a point, or if it is
shown to be worse, or neither faster nor smaller, than another form that surely loses no more than a point.

    python benchmarks/auto.py --olive OLIVE_ENV/bin/python
    python benchmarks/auto.py --only lstm mobilenet --keep DIR
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from compressbuild.evaluate.compare import compare_quality, hits

REPO = Path(__file__).resolve().parents[1]
CBUILD = [sys.executable, "-P", "-m", "compressbuild"]
LIMIT = 3600  # seconds of one command
POINT = 0.01
SIZE = 32  # pixels of the enlarged digits
OLIVE = ["optimize", "--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", "int8"]
"""Its automatic path."""
ROWS = 100  # that Olive calibrates with


@dataclass(frozen=True)
class Case:
    """``factory`` and ``shape`` of the input, ``files`` that the factory needs. ``large``: enlarged digits."""

    factory: str
    files: tuple[str, ...]
    large: bool
    inputs: str
    words: tuple[str, ...] = ("--train",)


JOURNEYS = ("tests/e2e/journeys/model.py",)
CASES = {
    "cnn": Case("model:build", ("examples/digits/model.py",), False, "image=batch,1,8,8"),
    "mobilenet": Case("model:mobilenet", JOURNEYS, True, f"x=batch,1,{SIZE},{SIZE}"),
    "vit": Case("model:vit", JOURNEYS, True, f"x=batch,1,{SIZE},{SIZE}"),
    "lstm": Case("model:lstm", ("benchmarks/rnn/model.py",), False, "rows=batch,8,8"),
    "minilm": Case("model:build", ("benchmarks/minilm/model.py", "benchmarks/minilm/data.py"), False, "", ()),
}
MINILM = REPO / "benchmarks/minilm/data"


@dataclass(frozen=True)
class Row:
    """``ratio`` of the time to the float model's in ONNX Runtime, with its 95 % interval. ``what``: how it was made.
    ``lost``: of quality, with the ends of its 95 % interval; all three equal where the metric has none."""

    model: str
    form: str
    what: str
    quality: float
    lost: tuple[float, float, float]
    ratio: float
    low: float
    high: float
    size: float


def command(words: Sequence[str], place: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        words, cwd=place, capture_output=True, text=True, check=False, timeout=LIMIT, env={**os.environ, **(env or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def write_digits(case: Case, place: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = (images.reshape(-1, 8, 8) / 16).astype(np.float32)
    name = case.inputs.partition("=")[0]
    if ",1," in case.inputs:
        rows = rows[:, None]
    if case.large:
        rows = np.kron(rows, np.ones((SIZE // 8, SIZE // 8), np.float32))
    np.savez(place / "data.npz", **{name: rows, "label": labels})


def write_sentences(place: Path) -> None:
    """Sentences of STS 2014 without labels, so that the search judges by the cosine to the float model's answers."""
    code = (
        "import data, numpy as np; batches = [feeds for feeds, _ in data.text(1500)]; "
        "np.savez('data.npz', **{name: np.concatenate([each[name] for each in batches]) for name in batches[0]})"
    )
    command([sys.executable, "-c", code], place)


def search(case: Case, place: Path, jobs: str, platforms: Sequence[str]) -> dict[str, Any]:
    """The search, whose choice is in the Compressfile of ``place``."""
    for file in case.files:
        shutil.copy(REPO / file, place)
    if not case.inputs:
        shutil.copytree(MINILM, place / "data", dirs_exist_ok=True)
        write_sentences(place)
        words = ("--data", "data.npz", "--weights", "data/minilm.safetensors")
        inputs = ("--input", "input_ids=batch,sequence:int64", "--input", "attention_mask=batch,sequence:int64")
    else:
        write_digits(case, place)
        words, inputs = ("--data", "data.npz"), ("--input", case.inputs)
    asked = ("tune", "--recipe", "auto", case.factory, *words, *inputs, *case.words, "-j", jobs, "--json", "--apply")
    asked += tuple(word for each in platforms for word in ("--platform", each))
    found: dict[str, Any] = json.loads(command([*CBUILD, *asked], place))
    return found


def default_of(found: Mapping[str, Any]) -> str | None:
    """The first recipe on the runtime of the baseline."""
    runtime = found["trials"][0]["runtime"]
    own = (t["recipe"] for t in found["trials"] if t["recipe"] is not None and t["runtime"] == runtime)
    return next(own, None)


def by_olive(python: Path, place: Path) -> Path:
    """What Olive makes of the float model: the workflow that ``olive optimize`` writes, with our rows to calibrate on.
    By itself it takes a text from the network, whatever the model is, and a GPU to calibrate on."""
    from olive import OLIVE_DATA  # benchmarks/olive.py

    out, config = place / "olive", place / "olive/config.json"
    model = place / "build/exported/model.onnx"
    dry = ["--disable_telemetry", "--dry_run", "--save_config_file"]
    command([str(python), "-m", "olive", *OLIVE, *dry, "-m", str(model), "-o", str(out)], place, {"CI": "1"})
    (out / "samples.py").write_text(OLIVE_DATA)
    columns = {name: column for name, column in np.load(place / "data.npz").items() if name != "label"}
    chosen = np.random.default_rng(0).permutation(len(next(iter(columns.values()))))[:ROWS]
    np.savez(out / "calibration.npz", **{name: column[chosen] for name, column in columns.items()})
    workflow = json.loads(config.read_text())
    for one in workflow["passes"].values():
        if "data_config" in one:
            one |= {"data_config": "calibration", "calibration_providers": ["CPUExecutionProvider"]}
    workflow["data_configs"] = [{
        "name": "calibration",
        "user_script": str(out / "samples.py"),
        "load_dataset_config": {"type": "calibration_samples", "params": {"data_dir": str(out / "calibration.npz")}},
        "dataloader_config": {"params": {"batch_size": 1}},
    }]  # fmt: skip
    workflow |= {"output_dir": str(out / "made"), "cache_dir": str(out / "cache")}
    config.write_text(json.dumps(workflow, indent=1))
    command([str(python), "-m", "olive", "run", "--config", str(config)], place, {"CI": "1"})
    found = sorted((out / "made").rglob("*.onnx"))
    if not found:
        raise RuntimeError(f"olive wrote no model to {out}")
    shutil.copy(found[0], place / "olive.onnx")
    return place / "olive.onnx"


def measured(place: Path, target: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "build" / target / "metrics.json").read_text())["metrics"]
    return found


def rows(name: str, case: Case, place: Path, olive: Path | None, jobs: str, platforms: Sequence[str]) -> Iterator[Row]:
    found = search(case, place, jobs, platforms)
    chosen = found["trials"][found["chosen"] - 1]
    quality = found["metrics"]["quality"]
    recipe = default_of(found)
    command([*CBUILD, "exported"], place)
    text = (place / "Compressfile").read_text()
    forms = {"ours": chosen["candidate"]}
    if recipe is not None:
        same = next(t for t in found["trials"] if t["recipe"] == recipe)
        forms["default"] = same["candidate"]
    if olive is not None:
        by_olive(olive, place)
        baseline = found["trials"][0]["runtime"]
        text = text.replace("\nmodels:\n", "\nmodels:\n  olives: {file: olive.onnx}\n", 1)
        text += f"\n  olive: {{from: olives, platform: {baseline}}}\n"
        forms["Olive"] = "olive"
    (place / "Compressfile").write_text(text)
    wanted = [target for form, target in forms.items() if form != "default" or target == chosen["candidate"]]
    command([*CBUILD, "fp32", *dict.fromkeys(wanted), "-k", "--remeasure"], place)
    base = measured(place, "fp32")
    yield row(name, "float", "ONNX Runtime", base, base, quality, found)
    for form, target in forms.items():
        trial = next((t for t in found["trials"] if t["candidate"] == target), None)
        what = "olive optimize, onnxruntime" if trial is None else f"{trial['recipe'] or 'float'}, {trial['runtime']}"
        if target in wanted:
            yield row(name, form, what, measured(place, target), base, quality, found)
        else:
            assert trial is not None
            yield of_trial(name, form, what, trial, base, quality, found)


def value_of(measured: Mapping[str, Any], quality: str) -> float:
    """1 for the baseline of a metric that compares answers with the baseline's."""
    return float(measured[quality]["value"]) if quality in measured else 1.0


def row(name: str, form: str, what: str, own: Any, base: Any, quality: str, found: Mapping[str, Any]) -> Row:
    speed, size = found["metrics"]["speed"], found["metrics"]["size"]
    times = own[speed] if "ratio" in own[speed] else {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
    value = value_of(own, quality)
    drop = value_of(base, quality) - value
    ends = (drop, drop)
    first, second = (hits(each.get(quality, {})) for each in (base, own))
    if first and second and own != base:
        pairs = compare_quality(quality, first, second)
        ends = (-pairs.high, -pairs.low)
    return Row(
        name, form, what, value, (drop, *ends),
        times["ratio"], times["ratio_low"], times["ratio_high"], own[size]["value"] / base[size]["value"],
    )  # fmt: skip


def of_trial(name: str, form: str, what: str, trial: Any, base: Any, quality: str, found: Mapping[str, Any]) -> Row:
    """As the search measured it. What lost too much was not timed."""
    size = found["metrics"]["size"]
    low, high = trial["interval"]
    missing = float("nan")
    value = trial["quality"] if trial["quality"] is not None else missing
    drop = value_of(base, quality) - value
    return Row(
        name, form, what, value, (drop, *(trial["lost"] or (drop, drop))),
        trial["ratio"] or missing, low or missing, high or missing, (trial["size"] or missing) / base[size]["value"],
    )  # fmt: skip


def worse(found: Sequence[Row]) -> Iterator[str]:
    """Where ours may lose more than a point, or does not beat another form that surely loses no more."""
    own = next(each for each in found if each.form == "ours")
    if own.lost[2] > POINT:
        yield f"{own.model}: ours may lose {own.lost[2]:.4f}"
    for other in found:
        if other.form in ("ours", "float") or other.what == own.what or not other.lost[2] <= POINT:
            continue
        if own.lost[1] > other.lost[2]:
            yield f"{own.model}: ours loses {own.lost[0]:.4f}, {other.form} {other.lost[0]:.4f}"
        if own.low > other.high * (1 + POINT) or (own.ratio >= other.ratio and own.size >= other.size):
            yield (
                f"{own.model}: ours takes ×{own.ratio:.2f} of the time and ×{own.size:.2f} of the size, {other.form} "
                f"×{other.ratio:.2f} and ×{other.size:.2f}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--olive", type=Path, help="the python of an environment with olive-ai")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="some of the models")
    parser.add_argument("--keep", type=Path, help="directory for the projects (default: a temporary one)")
    parser.add_argument("--platform", nargs="+", default=[], help="runtimes to try (default: all that run here)")
    parser.add_argument("-j", "--jobs", default="2", help="CPU slots")
    options = parser.parse_args()
    olive = options.olive
    if olive is None or not olive.is_file():
        print("Olive left out: " + ("--olive is not given" if olive is None else f"{olive} is not there"))
        olive = None
    software = {name: version(name) for name in ("torch", "onnxruntime", "openvino", "nncf")}
    print(f"{datetime.now(UTC).date()}; {', '.join(f'{name} {each}' for name, each in software.items())}\n")
    print("| model | form | made by | quality | lost | × float | 95 % | × size |\n" + "|---" * 8 + "|")
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="auto-") as temporary:
        for name in options.only:
            if name == "minilm" and not (MINILM / "minilm.safetensors").is_file():
                failed.append(
                    f"minilm left out: {MINILM / 'minilm.safetensors'} is not there (benchmarks/minilm/prepare.py)"
                )
                continue
            place = (options.keep or Path(temporary)).resolve() / name
            place.mkdir(parents=True, exist_ok=True)
            for made in ("Compressfile", "olive"):  # of an earlier run; its cache stays
                shutil.rmtree(place / made) if (place / made).is_dir() else (place / made).unlink(missing_ok=True)
            found = []
            for each in rows(name, CASES[name], place, olive, options.jobs, options.platform):
                found.append(each)
                cells = (
                    each.model, each.form, each.what, f"{each.quality:.4f}",
                    f"{each.lost[0]:+.4f} ({each.lost[1]:+.4f} to {each.lost[2]:+.4f})", f"{each.ratio:.3f}",
                    f"{each.low:.3f}–{each.high:.3f}", f"{each.size:.3f}",
                )  # fmt: skip
                print(f"| {' | '.join(cells)} |", flush=True)
            failed += worse(found)
    print("\n" + ("\n".join(failed) if failed else "ours is nowhere worse, and everywhere faster or smaller"))
    return 1 if any("left out" not in each for each in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
