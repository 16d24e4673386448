"""The same comparison of latency, again and again, on real artifacts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx_models as models
import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "verdicts.py"


@pytest.mark.slow
@pytest.mark.parametrize("hogs", [0, 2])
def test_the_verdict_is_the_same_in_19_of_20_repeats(hogs: int, exported: Path, tmp_path: Path) -> None:
    int8 = models.quantized(exported, tmp_path / "int8", "u8-affine")
    command = [sys.executable, str(SCRIPT), str(int8), str(exported), "--repeats", "20", "--hogs", str(hogs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
