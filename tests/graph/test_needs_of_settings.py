"""What a platform's settings take of the host, beside what its backend does."""

from __future__ import annotations

from pathlib import Path

import pytest
from cbuild_inductor.settings import InductorSettings
from cbuild_onnxruntime.settings import OnnxRuntimeSettings
from cbuild_tensorrt.settings import TensorRTRTXSettings

from compressbuild.api import Needs, Platform
from compressbuild.platforms import Facts, assess, check
from compressbuild.project import Project
from compressbuild.registry import discover

HOPPER = {"os": "Linux", "gpu.name": "NVIDIA H100", "gpu.sm": "sm90"}


def told(needs: Needs, facts: dict) -> list[str]:
    return [missing.what for missing in check(needs, Facts.fixed(facts))]


def test_a_target_for_a_gpu_is_skipped_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"any")
    (tmp_path / "Compressfile").write_text(
        "version: 1\nmodels: {m: {file: m.onnx}}\n"
        "platforms:\n  cpu: {backend: onnxruntime}\n  gpu: {backend: onnxruntime, provider: cuda}\n"
        "  mac: {backend: onnxruntime, provider: coreml}\n"
        "targets:\n" + "".join(f"  {name}: {{from: m, platform: {name}}}\n" for name in ("cpu", "gpu", "mac"))
    )
    project = Project(tmp_path / "Compressfile")
    project.__dict__["facts"] = Facts.fixed({"os": "Linux"})
    graph = project.graph
    missing = {name: graph.nodes[graph.targets[name].artifact].missing for name in ("cpu", "gpu", "mac")}
    assert missing["cpu"] == ()
    assert "an NVIDIA GPU (none found)" in [lack.what for lack in missing["gpu"]]
    assert {lack.hint for lack in missing["gpu"]} == {"pip install onnxruntime-gpu instead of onnxruntime"}
    assert [lack.what for lack in missing["mac"]] == ["Darwin (this is Linux)"]


@pytest.mark.parametrize("here", ["sm89", "sm90"])
def test_a_metric_runs_where_the_engine_does(tmp_path: Path, here: str) -> None:
    (tmp_path / "m.onnx").write_bytes(b"any")
    (tmp_path / "data.py").write_text("def test(): pass\n")
    (tmp_path / "Compressfile").write_text(
        "version: 1\nmodels: {m: {file: m.onnx}}\ndatasets: {test: {loader: 'data:test'}}\n"
        "targets: {t: {from: m, platform: rtx-ada, evaluate: {data: test, metrics: [latency]}}}\n"
    )
    project = Project(tmp_path / "Compressfile")
    project.__dict__["facts"] = Facts.fixed({**HOPPER, "gpu.sm": here})
    (latency,) = project.graph.targets["t"].metrics  # not planned: this host has no driver
    assert ("a GPU of sm89 (this is sm90)" in latency.reason) == (here == "sm90")


@pytest.mark.parametrize(
    ("wanted", "names", "missing"),
    [
        ("sm89", ("sm89",), ["a GPU of sm89 (this is sm90)"]),
        (["8.6", "SM120", "sm86"], ("sm86", "sm120"), ["a GPU of sm86 or sm120 (this is sm90)"]),
        (["sm80", "sm90"], ("sm80", "sm90"), []),
        ("current", ("current",), []),
    ],
)
def test_an_engine_runs_on_the_architectures_it_was_built_for(wanted: str, names: tuple, missing: list[str]) -> None:
    settings = TensorRTRTXSettings(compute_capability=wanted)
    assert settings.capabilities() == names
    assert told(settings.run_needs(), HOPPER) == missing
    assert settings.needs().gpu == (wanted == "current")
    assert told(settings.needs(), {**HOPPER, "gpu.name": None})[-1:] == (
        ["an NVIDIA GPU (none found)"] if wanted == "current" else []
    )


def test_native_code_for_a_gpu() -> None:
    lacks = told(InductorSettings(device="cuda").needs(), {"os": "Linux"})
    assert "an NVIDIA GPU (none found)" in lacks
    assert told(InductorSettings().needs(), {"os": "Linux"}) == []
    with pytest.raises(ValueError, match="'tf32' is only for 'device: cuda', but the device is cpu"):
        InductorSettings(tf32=True)
    with pytest.raises(ValueError, match="'tf32' is only for 'provider: cuda', but the provider is cpu"):
        OnnxRuntimeSettings(tf32=True)


def test_the_catalogue_counts_them() -> None:
    registry = discover(cache=None)
    facts = Facts.fixed(HOPPER)
    ada = assess(registry.platforms["rtx-ada"], registry.backends["tensorrt-rtx"], facts)
    assert "a GPU of sm89 (this is sm90)" in [lack.what for lack in ada.run]
    assert "a GPU of sm89 (this is sm90)" not in [lack.what for lack in ada.build]
    unfinished = Platform(name="rtx", backend="tensorrt-rtx")  # its compute-capability is for the user to say
    assert "a GPU of" not in str(assess(unfinished, registry.backends["tensorrt-rtx"], facts))
