"""examples/backends: one Compressfile for every runtime."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest
from command import Ran, Work

REPO = Path(__file__).parents[2]
MEASURED = {
    *(f"{platform}-{precision}" for platform in ("onnxruntime", "openvino") for precision in ("fp32", "fp16", "int8")),
    "openvino-nncf",
    "inductor-fp32",
    *(f"executorch-{precision}" for precision in ("fp32", "fp16", "int8")),
}
RUNTIMES = ("onnxruntime", "openvino", "torch-inductor", "executorch")
CROSS_COMPILED = {
    f"nvidia-{rtx}-{precision}" for rtx in ("rtx-ada", "rtx-blackwell") for precision in ("fp32", "fp16", "int8")
}
CROSS_COMPILED |= {f"coreml-{precision}" for precision in ("fp32", "fp16", "int8")}
FEWER = ("--set", "vars.epochs=6")  # for whatever looks at what was built, too
ON_ITS_GPU = {f"nvidia-gpu-server-{precision}" for precision in ("fp32", "fp16", "int8")}
ON_ITS_GPU |= {"cuda-fp32", "cuda-fp16", "native-cuda-fp32"}


def copied(place: Path) -> Work:
    shutil.copytree(
        REPO / "examples", place / "examples", ignore=shutil.ignore_patterns("__pycache__", "build", "cache")
    )
    return Work(place / "examples" / "backends")


def test_it_plans_and_shares(tmp_path: Path) -> None:
    rows = [msgspec.json.decode(line) for line in copied(tmp_path).json("-n", "all").out.splitlines()]
    nodes = [row["positions"] for row in rows if "positions" in row]
    exports = [positions for positions in nodes if any(name.endswith("/export.onnx") for name in positions)]
    assert len(exports) == 1
    calibrations = [positions for positions in nodes if positions[0].endswith("/quantize.static")]
    assert [{name.partition("-int8")[0] for name in positions} for positions in calibrations] == [
        {"onnxruntime", "openvino"},
        {"nvidia-rtx-ada", "nvidia-rtx-blackwell", "nvidia-gpu-server"},
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[Work, Ran]]:
    @cache
    def build() -> tuple[Work, Ran]:
        work = copied(tmp_path_factory.mktemp("backends"))
        return work, work("all", "--json", *FEWER, timeout=1800)

    return build


def metrics(work: Work, target: str) -> dict:
    return msgspec.json.decode((work.root / "build" / target / "metrics.json").read_bytes())["metrics"]


@pytest.mark.slow
def test_every_target_is_in_the_state_it_should_be(built: Callable[[], tuple[Work, Ran]]) -> None:
    work, ran = built()
    states = {name: event.status for name, event in ran.targets.items()}
    skipped = {name for name, status in states.items() if status == "skipped"}
    assert skipped <= ON_ITS_GPU
    if shutil.which("nvidia-smi") is None:
        assert skipped == ON_ITS_GPU
    for name in skipped:
        assert ran.targets[name].reason.startswith("needs ")
    assert {name for name, status in states.items() if status == "published"} == set(states) - skipped
    assert set(states) == MEASURED | CROSS_COMPILED | ON_ITS_GPU | {"digits", "student"}
    for name in skipped:
        refused = work(name, code=4)
        assert f"target '{name}' cannot be built on this machine: it needs " in refused.text
        assert "hint: " in refused.text


@pytest.mark.slow
def test_what_runs_here_has_accuracy_latency_and_parity(built: Callable[[], tuple[Work, Ran]]) -> None:
    work, _ = built()
    student = metrics(work, "student")["top1"]["value"]
    for target in sorted(MEASURED):
        found = metrics(work, target)
        assert found["top1"]["value"] >= student - 0.02, target
        assert found["latency"]["value"] > 0, target
        if target != "onnxruntime-fp32":
            assert found["latency"]["ratio"] > 0, target
        shown = msgspec.json.decode(work("show", target, "--json", *FEWER).out)
        (compiled,) = (node for node in shown["nodes"] if node["node"] in {f"{target}/{name}" for name in RUNTIMES})
        assert compiled["facts"]["sqnr_db"] > 15, target
        assert compiled["facts"]["parity"]["cases"], target


@pytest.mark.slow
def test_what_cannot_run_here_says_so(built: Callable[[], tuple[Work, Ran]]) -> None:
    work, _ = built()
    for target in sorted(CROSS_COMPILED):
        found = msgspec.json.decode((work.root / "build" / target / "metrics.json").read_bytes())
        assert found["metrics"]["size"]["value"] > 10_000
        assert {"top1", "latency"} <= {*found["metrics"], *found["unmeasured"]}
        for reason in found["unmeasured"].values():
            assert reason.startswith("built, not measured here: needs "), target
