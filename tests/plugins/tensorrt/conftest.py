from __future__ import annotations

from pathlib import Path

import onnx_models as models
import pytest


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same CNN as onnx artifacts: fp32, fp16, and int8 in both schemes."""
    root = tmp_path_factory.mktemp("onnx")
    fp32 = models.save(models.cnn(), root / "fp32")
    return {
        "fp32": fp32,
        "fp16": models.save(models.half(models.cnn()), root / "fp16"),
        "s8-symmetric": models.quantized(fp32, root / "s8", "s8-symmetric"),
        "u8-affine": models.quantized(fp32, root / "u8", "u8-affine"),
    }
