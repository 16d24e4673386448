"""What each recipe gives on models of this repository: quality, size and latency beside the same model as it came.

For each family a Compressfile is written with a target for every recipe that suits it, on the first of the recipe's
runtimes that can run here, and built with ``cbuild``. What came of it goes into ``recipes/measured.json`` of each
plugin, which ``cbuild recipes NAME`` shows. Latency is measured alternately with the baseline, on one thread.

    python benchmarks/recipes.py              # all; a quarter of an hour on two busy cores
    python benchmarks/recipes.py --keep DIR   # keep the projects there, and the work for the next run
    python benchmarks/recipes.py --print      # print it instead of writing it
    python benchmarks/recipes.py --only mlp   # measure this family; the rows of the others stay, with their dates
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compressbuild.platforms import Facts, check, probe
from compressbuild.registry import Registry, discover
from compressbuild.starter.recipes import Recipe, kinds_after, recipes

REPO = Path(__file__).resolve().parents[1]
FILE = "measured.json"
BATCH = 64
LIMIT = 1800  # seconds a family
MODELS = {  # family → factory, what it is, epochs of its training and their rate
    "cnn": ("examples.digits.model:build", "a CNN that reads digits", 10, 0.01),
    "transformer-encoder": (
        "recipe_models:encoder",
        "a transformer encoder that looks up the pixels of digits",
        20,
        0.002,
    ),
    "transformer-decoder": ("recipe_models:decoder", "a causal transformer that reads digits by rows", 20, 0.002),
    "rnn": ("recipe_models:lstm", "an LSTM that reads digits by rows", 20, 0.005),
    "mlp": ("recipe_models:mlp", "an MLP that reads digits", 10, 0.002),
    "mix": ("recipe_models:mix", "convolutions and an LSTM that read digits by rows", 20, 0.002),
}
PACKAGES = ("torch", "onnx", "onnxruntime", "openvino", "nncf", "tensorrt_rtx_cu13", "torch-pruning")
METRICS = ["top1", {"latency": {"batch": BATCH}}, "size"]
SETTINGS = {"threads": 1, "compute-capability": "sm89"}  # of those backends that have them
ISA = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512f", "avx2")  # the first that is there names the machine


def runtime(recipe: Recipe, registry: Registry, facts: Facts) -> tuple[str | None, bool]:
    """The first of its runtimes that can run here, else the first that can compile here; and whether it can run."""

    def lacks(name: str, *, run: bool) -> bool:
        record = registry.backend(name)
        needs = (record.stack.needs, record.compile_needs, *([record.run_needs] if run else []))
        return any(check(each, facts) for each in needs)

    for run in (True, False):
        for name in recipe.runtimes:
            if not lacks(name, run=run):
                return name, run
    return None, False


def steps_of(recipe: Recipe, consumes: Iterable[str], registry: Registry) -> list[Any]:
    """Its steps with the names that it leaves open, and the export that ``init`` adds."""

    def filled(step: str | Mapping[str, Any]) -> Any:
        if isinstance(step, str):
            return step
        ((name, params),) = step.items()
        return {name: {key: "trained" if (key, value) == ("teacher", "baseline") else value
                       for key, value in params.items()}}  # fmt: skip

    steps = [filled(step) for step in recipe.steps]
    return [*steps, *(["export.onnx"] if kinds_after(steps, recipe.takes, registry) not in consumes else [])]


def compressfile(family: str, chosen: Mapping[str, tuple[Recipe, str, bool]], registry: Registry) -> dict[str, Any]:
    factory, _, epochs, rate = MODELS[family]
    targets: dict[str, Any] = {
        "trained": {"from": "net", "steps": [{"train": {"data": "train", "epochs": epochs, "lr": rate}}]},
        "exported": {"from": "trained", "steps": ["export.onnx"]},
    }
    platforms = {}
    for name, (recipe, backend, runs) in chosen.items():
        record = registry.backend(backend)
        known = settings_of(record)
        platforms[backend] = {"backend": backend} | {key: value for key, value in SETTINGS.items() if key in known}
        start = {kind: "trained" if kind == "torch-model" else "exported" for kind in record.consumes}
        targets[f"base-{backend}"] = {
            "from": start.get("onnx") or start["torch-model"], "platform": backend,
            "evaluate": {"metrics": METRICS if runs else ["size"]},
        }  # fmt: skip
        targets[name] = {
            "from": "trained" if recipe.takes == "torch-model" else "exported",
            "steps": steps_of(recipe, record.consumes, registry),
            "platform": backend,
            "evaluate": {"baseline": f"base-{backend}", "metrics": METRICS if runs else ["size"]},
        }
    inputs = {"image": {"shape": ["batch", 1, 8, 8], "dtype": "float32"}}
    return {
        "version": 1,
        "models": {"net": {"factory": factory, "inputs": inputs}},
        "datasets": {name: {"loader": f"examples.digits.data:{name}"} for name in ("train", "calibration", "test")},
        "platforms": platforms,
        "evaluate": {"data": "test", "metrics": ["top1", "size"]},
        "preload": ["sklearn.datasets"],
        "targets": targets,
    }


def settings_of(record: Any) -> tuple[str, ...]:
    return tuple(field.replace("_", "-") for field in record.settings.__struct_fields__)


def build(family: str, content: Mapping[str, Any], place: Path) -> tuple[Path, dict[str, str]]:
    """The project, and why each target that failed did."""
    project = place / family
    project.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "examples", project / "examples", dirs_exist_ok=True, ignore=ignored)
    shutil.copyfile(REPO / "tests" / "plugins" / "sequence_models.py", project / "sequence_models.py")
    shutil.copyfile(REPO / "benchmarks" / "recipe_models.py", project / "recipe_models.py")
    (project / "Compressfile").write_text(json.dumps(content, indent=1))
    command = [sys.executable, "-P", "-m", "compressbuild", "all", "-k", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=LIMIT)
    failed = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event["event"] == "node-finished" and event["status"] == "failed":
            failed[event["label"].partition("/")[0]] = event["error"]
        elif event["event"] == "target-finished" and event["status"] not in ("published", "up to date"):
            failed.setdefault(event["target"], event["reason"] or event["status"])
    if not (project / "build" / "trained").is_dir():
        raise SystemExit(f"{family}: {done.stderr}{failed}")
    return project, failed


def row(project: Path, name: str, recipe: Recipe, family: str, backend: str) -> dict[str, Any]:
    """Ratios to the baseline on the same runtime; a time of its own carries over to no other machine."""
    found, base = (
        json.loads((project / "build" / each / "metrics.json").read_text())["metrics"]
        for each in (name, f"base-{backend}")
    )
    row: dict[str, Any] = {"model": MODELS[family][1], "runtime": backend}
    missed = []
    if "top1" in found:
        top1, before = found["top1"]["value"], base["top1"]["value"]
        row |= {"quality": "top1", "value": round(top1, 4), "baseline": round(before, 4), "samples": found["top1"]["n"]}
        missed += ["quality"] if before - top1 > recipe.gates.quality_drop else []
    size = found["size"]["value"] / base["size"]["value"]
    row["size"] = round(size, 3)
    missed += ["size"] if recipe.gates.size is not None and size > recipe.gates.size else []
    if "ratio" in found.get("latency", {}):
        latency = found["latency"]
        row["latency"] = [round(latency[each], 3) for each in ("ratio", "ratio_low", "ratio_high")]
        row["noisy"] = latency["noisy"]
        missed += ["latency"] if recipe.gates.latency is not None and latency["ratio"] > recipe.gates.latency else []
    return row | {"missed": missed}


def measured(place: Path, registry: Registry, families: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Recipe → a row for each model; or why there is none."""
    facts, known = probe(), recipes(registry)
    found: dict[str, dict[str, Any]] = {name: {"rows": [], "failed": []} for name in known}
    for family in families:
        chosen = {}
        for name, recipe in known.items():
            if family not in recipe.families:
                continue
            backend, runs = runtime(recipe, registry, facts)
            if backend is None:
                found[name]["failed"].append(f"none of {', '.join(recipe.runtimes)} can compile here")
            else:
                chosen[name] = (recipe, backend, runs)
        project, failed = build(family, compressfile(family, chosen, registry), place)
        for name, (recipe, backend, _) in chosen.items():
            reason = failed.get(name) or failed.get(f"base-{backend}")
            if reason is not None:
                found[name]["failed"].append(f"{MODELS[family][1]}: {reason}")
            else:
                found[name]["rows"].append(row(project, name, recipe, family, backend))
        print(f"{family}: {len(chosen)} recipes, {len(failed)} failed {failed or ''}", file=sys.stderr)
    return found


def merged(old: Mapping[str, Any], new: Mapping[str, Any], families: Iterable[str]) -> dict[str, Any]:
    """A plugin's file with what was measured of ``families``, and its other rows, with the date and machine of each."""
    again = {MODELS[family][1] for family in families}
    kept = old.get("recipes", {})
    found = {}
    for name, own in new["recipes"].items():
        before = kept.get(name, {"rows": [], "failed": []})
        own_head = {key: old[key] for key in ("date", "machine") if key in old}
        rows = [{**own_head, **row} for row in before["rows"] if row["model"] not in again]
        failed = [why for why in before["failed"] if why.partition(": ")[0] not in again]
        found[name] = {"rows": rows + own["rows"], "failed": [*dict.fromkeys(failed + own["failed"])]}
    return {**new, "recipes": found}


def about(facts: Facts) -> dict[str, Any]:
    isa = facts.get("cpu.isa") or ()
    best = next((each for each in ISA if each in isa), "")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{facts.get('cpu.arch')}{f' with {best}' if best else ''}, one thread, batch {BATCH}",
        "software": {name: version(name) for name in PACKAGES},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="directory for the projects (default: a temporary one)")
    parser.add_argument("--print", action="store_true", help="print what was measured instead of writing it")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="families to measure")
    arguments = parser.parse_args()
    registry = discover(cache=None)
    with tempfile.TemporaryDirectory() as temporary:
        found = measured((arguments.keep or Path(temporary)).resolve(), registry, arguments.only)
    head = about(probe())
    known = recipes(registry)
    for plugin in registry.plugins:
        own = {name: found[name] for name, recipe in sorted(known.items()) if recipe.plugin == plugin.name}
        if all(known[name].role != "compress" for name in own):
            continue
        path = Path(plugin.file).parent / "recipes" / FILE
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        new = merged(old, {**head, "recipes": own}, arguments.only)
        text = json.dumps(new, indent=1, ensure_ascii=False) + "\n"
        if arguments.print:
            print(text)
        else:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
