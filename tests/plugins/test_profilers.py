"""Profiles of the digits network by each runtime that can make one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import digits
import msgspec
import pytest
from cbuild_onnxruntime import OnnxRuntimeSettings
from cbuild_openvino import OpenVinoSettings

from compressbuild.api import Profile, Profiling, WorkInput
from compressbuild.api.testing import run_node

ASKED = Profiling(batch=32, repeats=9, warmup=2)


def profiled(run: str, artifact: Path, out: Path, params: Profiling = ASKED, **world: Any) -> Profile:
    facts = run_node(run, world.pop("subject", None) or digits.as_input(artifact), params, out, **world).facts
    return msgspec.convert(facts, Profile)


def compiled(place: Path, backend: str, model: Path, settings: Any) -> WorkInput:
    """What a backend makes of an ONNX model, as an input that is run with these settings."""
    made = run_node(f"cbuild_{backend}.backend:compile", digits.as_input(model), settings, place / backend)
    kind = type(settings)
    return WorkInput(
        path=str(made.out),
        kind="",
        load=f"cbuild_{backend}.backend:load",
        settings=msgspec.to_builtins(settings),
        settings_type=f"{kind.__module__}:{kind.__qualname__}",
    )


def check(found: Profile, *, least: float = 0.05) -> Counter[str]:
    """The operators account for no more than there is; how often each type runs."""
    total = sum(row.time_us for row in found.operators)
    assert least * found.run_us < total < 1.15 * found.run_us
    assert found.batch == 32
    assert all(row.time_us >= 0 and row.name and row.op for row in found.operators)
    counts: Counter[str] = Counter()
    for row in found.operators:
        counts[row.op] += int(row.calls)
    return counts


def test_onnxruntime(exported: Path, tmp_path: Path) -> None:
    subject = compiled(tmp_path, "onnxruntime", exported, OnnxRuntimeSettings())
    found = profiled("cbuild_onnxruntime.backend:profile", exported, tmp_path / "out", subject=subject)
    counts = check(found)
    convolutions = sum(count for op, count in counts.items() if "Conv" in op)
    assert convolutions == 8
    assert max(found.operators, key=lambda row: row.time_us).op in counts
    assert found.describe["provider"] == "CPUExecutionProvider"
    names = [row.name for row in found.operators]
    assert len(set(names)) == len(names)
    assert not list((tmp_path / "out.scratch").glob("*.json"))  # the file of events is gone


def test_onnxruntime_with_the_platforms_settings(exported: Path, tmp_path: Path) -> None:
    """Unoptimised, every operator of the graph has a row of its own."""
    plain = OnnxRuntimeSettings(optimization="disabled", save_optimized=False)
    subject = compiled(tmp_path, "onnxruntime", exported, plain)
    found = profiled("cbuild_onnxruntime.backend:profile", exported, tmp_path / "out", subject=subject)
    assert "Relu" in check(found)
    assert found.describe["optimization"] == "disabled"


def test_the_reference_runtime_of_onnx(exported: Path, tmp_path: Path) -> None:
    counts = check(profiled("cbuild_onnx.profile:profile", exported, tmp_path / "out"))
    assert sum(count for op, count in counts.items() if "Conv" in op) == 8


def test_openvino(exported: Path, tmp_path: Path) -> None:
    subject = compiled(tmp_path, "openvino", exported, OpenVinoSettings())
    found = profiled("cbuild_openvino.backend:profile", exported, tmp_path / "out", subject=subject)
    counts = check(found)
    assert sum(count for op, count in counts.items() if op.startswith("Convolution")) == 8
    assert found.describe["device"] == "CPU"


def test_torch(trained: Path, tmp_path: Path) -> None:
    found = profiled(
        "cbuild_torch.profile:profile", trained, tmp_path / "out", factories=digits.FACTORIES, root=digits.ROOT
    )
    counts = check(found)
    assert counts["aten::convolution"] == 8
    assert all(row.name == row.op for row in found.operators)


@pytest.mark.parametrize("batch", [1, 128])
def test_the_batch_is_what_was_asked_for(batch: int, exported: Path, tmp_path: Path) -> None:
    found = profiled("cbuild_onnx.profile:profile", exported, tmp_path / "out", Profiling(batch=batch, repeats=3))
    assert found.batch == batch
