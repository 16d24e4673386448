"""AOTInductor on an NVIDIA GPU."""

from __future__ import annotations

from pathlib import Path

import digits as digits_example
import numpy as np
import pytest
import torch
from cbuild_inductor.settings import InductorSettings

from compressbuild.api import UserError, WorkInput
from compressbuild.api.testing import make_context

COMPILE = "cbuild_inductor.compile:compile"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of torch"),
]


@pytest.mark.parametrize(("tf32", "least_db", "tolerance"), [(False, 90, 1e-4), (True, 45, 2e-2)])
def test_compiles_runs_and_compares(tf32: bool, least_db: float, tolerance: float, tmp_path: Path) -> None:
    source = digits_example.source(tmp_path / "source", width=16)
    settings = InductorSettings(device="cuda", tf32=tf32)
    node = digits_example.apply(COMPILE, source, settings, tmp_path / "out")
    assert node.facts["sqnr_db"] > least_db
    assert node.facts["parity"]["precision"] == ("fp16" if tf32 else "fp32")
    assert node.facts["parity"]["cases"] == ["random batch=3", "random batch=1", "random batch=16", "zeros"]
    entry = WorkInput(
        path=str(node.out),
        kind="aoti-package",
        load="cbuild_inductor.runner:load",
        settings={"device": "cuda", "tf32": tf32},
        settings_type="cbuild_inductor.settings:InductorSettings",
    )
    runner = make_context(tmp_path / "ctx", subject=entry).runner("subject")
    assert runner.describe()["device"] == f"cuda ({torch.cuda.get_device_name()})"
    feeds, _ = digits_example.held_out()
    wanted = digits_example.outputs(source, feeds)
    for rows in (1, 7, len(feeds["image"])):
        found = runner({name: value[:rows] for name, value in feeds.items()})
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value[:rows], rtol=tolerance, atol=tolerance)
    with pytest.raises(UserError, match="the package cannot be run: "):
        runner({"image": np.zeros((1, 1, 9, 8), np.float32)})
