"""Five families of networks, from training to 8 bits on two runtimes, with the defaults of every step."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from command import Work

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parent / "journeys"
LEARNT = 0.85  # of the pruned float model: what has learnt nothing can lose nothing
QUANTIZED = {"static-ort", "static-ov", "qat-ort", "qat-ov"}


def measured(work: Work, target: str) -> dict:
    return msgspec.json.decode((work.root / "build" / target / "metrics.json").read_bytes())["metrics"]


@pytest.mark.parametrize("net", ["resnet", "mobilenet", "vit", "convnext", "efficientnet"])
def test_every_8_bit_model_is_within_a_point_of_its_pruned_source(tmp_path: Path, net: str) -> None:
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
    shutil.copytree(PROJECT, tmp_path / net, ignore=shutil.ignore_patterns("__pycache__"))
    work = Work(tmp_path / net)
    work("all", "-k", "--json", "--set", f"vars.net={net}", timeout=1200)
    top1 = {target: measured(work, target)["top1"]["value"] for target in {"float", *QUANTIZED}}
    assert top1["float"] > LEARNT
    assert min(top1.values()) >= top1["float"] - 0.01, top1
    before, after = (measured(work, target)["parameters"]["value"] for target in ("trained", "float"))
    assert after < 0.75 * before
