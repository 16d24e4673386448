"""Five families of networks, from training to 8 bits on two runtimes, with the defaults of every step."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from command import Work

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent / "journeys"
LEARNT = 0.85  # of the pruned float model: what has learnt nothing can lose nothing
POINT = 0.01
PLATFORMS = ("ort", "ov", "ort-avx2", "ov-avx2")
QUANTIZED = {f"{step}-{platform}" for step in ("static", "qat") for platform in PLATFORMS}
QEMU = shutil.which("qemu-x86_64")


@pytest.fixture(scope="module", params=["resnet", "mobilenet", "vit", "convnext", "efficientnet"])
def journey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A project in which all is built."""
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
    work = Work(shutil.copytree(PROJECT, tmp_path_factory.mktemp("journey") / request.param))
    work("all", "-k", "--set", f"vars.net={request.param}", timeout=1200)
    return work


def measured(work: Work, target: str) -> dict:
    return msgspec.json.decode((work.root / "build" / target / "metrics.json").read_bytes())["metrics"]


def test_every_8_bit_model_is_within_a_point_of_its_pruned_source(journey: Work) -> None:
    top1 = {target: measured(journey, target)["top1"]["value"] for target in {"float", *QUANTIZED}}
    assert top1["float"] > LEARNT
    assert min(top1.values()) >= top1["float"] - POINT, top1
    before, after = (measured(journey, target)["parameters"]["value"] for target in ("trained", "float"))
    assert after < 0.75 * before


@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")
def test_so_is_what_is_made_for_a_processor_without_vnni_on_one(journey: Work, tmp_path: Path) -> None:
    """Compiled, compared with its source and run there. ``ort-avx2`` publishes the model as it was quantized."""
    models = {step: journey.root / "build" / f"{step}-ort-avx2" for step in ("static", "qat")}
    path = [str(journey.root), *sys.path]
    code = f"import runpy, sys; sys.path[:] = {path!r}; sys.argv.pop(0); runpy.run_path(sys.argv[0], None, '__main__')"
    words = [str(word) for word in (journey.root / "compile_and_count.py", tmp_path, *models.values())]
    python = str(Path(sys.executable).resolve())
    ran = subprocess.run(
        [str(QEMU), "-cpu", "Haswell", python, "-c", code, *words],
        check=False,
        timeout=900,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    least = measured(journey, "float")["top1"]["value"] - POINT
    for answers in found.values():
        assert set(answers) == {"onnxruntime", "openvino"}
        assert min(row["top1"] for row in answers.values()) >= least, found
        assert min(row["sqnr_db"] for row in answers.values()) > 25, found
