"""Profiles of the digits network by each runtime that can make one."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import digits
import msgspec
import pytest
import torch
from cbuild_executorch.settings import ExecuTorchSettings
from cbuild_inductor.profile import operators
from cbuild_inductor.settings import InductorSettings
from cbuild_onnxruntime.settings import OnnxRuntimeSettings, OrtFormatSettings
from cbuild_openvino.settings import OpenVinoSettings
from cbuild_torch.model.profile import RUN, watched

from compressbuild.api import Profile, Profiling, UserError, WorkInput
from compressbuild.api.testing import run_node

ASKED = Profiling(batch=32, repeats=9, warmup=2)


def profiled(run: str, artifact: Path, out: Path, params: Profiling = ASKED, **world: Any) -> Profile:
    facts = run_node(run, world.pop("subject", None) or digits.as_input(artifact), params, out, **world).facts
    return msgspec.convert(facts, Profile)


def compiled(
    place: Path, backend: str, model: Path, settings: Any, *, compile: str = "compile", load: str = "runner"
) -> WorkInput:
    """What a backend makes of a model, as an input that is run with these settings."""
    made = digits.apply(f"cbuild_{backend}.{compile}:compile", model, settings, place / backend)
    kind = type(settings)
    return WorkInput(
        path=str(made.out),
        kind="",
        load=f"cbuild_{backend}.{load}:load",
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
    found = profiled("cbuild_onnxruntime.profile:profile", exported, tmp_path / "out", subject=subject)
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
    found = profiled("cbuild_onnxruntime.profile:profile", exported, tmp_path / "out", subject=subject)
    assert "Relu" in check(found)
    assert found.describe["optimization"] == "disabled"


def test_the_ort_format(exported: Path, tmp_path: Path) -> None:
    subject = compiled(tmp_path, "onnxruntime", exported, OrtFormatSettings(), compile="flat", load="flat")
    found = profiled("cbuild_onnxruntime.flat:profile", exported, tmp_path / "out", subject=subject)
    assert sum(count for op, count in check(found).items() if "Conv" in op) == 8


def test_the_reference_runtime_of_onnx(exported: Path, tmp_path: Path) -> None:
    counts = check(profiled("cbuild_onnx.model.profile:profile", exported, tmp_path / "out"))
    assert sum(count for op, count in counts.items() if "Conv" in op) == 8


def test_openvino(exported: Path, tmp_path: Path) -> None:
    subject = compiled(tmp_path, "openvino", exported, OpenVinoSettings())
    found = profiled("cbuild_openvino.profile:profile", exported, tmp_path / "out", subject=subject)
    counts = check(found)
    assert sum(count for op, count in counts.items() if op.startswith("Convolution")) == 8
    assert found.describe["device"] == "CPU"


def test_torch(trained: Path, tmp_path: Path) -> None:
    found = profiled(
        "cbuild_torch.model.profile:profile", trained, tmp_path / "out", factories=digits.FACTORIES, root=digits.ROOT
    )
    counts = check(found)
    assert counts["aten::convolution"] == 8
    assert all(row.name == row.op for row in found.operators)


def on_executorch(place: Path, model: Path, **settings: Any) -> WorkInput:
    pytest.importorskip("executorch.runtime", reason="needs executorch: pip install 'compressbuild[executorch]'")
    return compiled(place, "executorch", model, ExecuTorchSettings(**settings))


def test_executorch(trained: Path, tmp_path: Path) -> None:
    subject = on_executorch(tmp_path, trained)
    asked = Profiling(batch=32, repeats=120, warmup=3)  # more than are read at a time
    found = profiled("cbuild_executorch.profile:profile", trained, tmp_path / "out", asked, subject=subject)
    counts = check(found, least=0.5)
    assert sum(count for op, count in counts.items() if op.startswith("Convolution")) == 8
    assert counts["Fully Connected (NC, F32) GEMM"] == 1
    assert counts["executorch_prim::et_view.default"] == 1, "a kernel that the events do not name"
    names = [row.name for row in found.operators]
    assert len(set(names)) == len(names)
    slowest = max(found.operators, key=lambda row: row.time_us)
    assert slowest.op.startswith("Convolution")
    assert "XnnpackBackend #2" in names, "what its call takes beside its operators"
    assert found.describe["threads"] == 1


def test_executorch_with_many_delegates(tmp_path: Path) -> None:
    """Each numbers its operators from one; names are unique nevertheless."""
    subject = on_executorch(tmp_path, digits.source(tmp_path / "source", factory="sequence_models:lstm"))
    found = profiled("cbuild_executorch.profile:profile", tmp_path, tmp_path / "out", subject=subject)
    counts = check(found, least=0.3)
    assert counts["XnnpackBackend"] > 2
    assert counts["Fully Connected (NC, F32) GEMM"] == 10, "of the input, of the state of eight rows, of the head"
    names = [row.name for row in found.operators]
    assert len(set(names)) == len(names)
    assert {f"Fully Connected (NC, F32) GEMM #{number}" for number in range(1, 11)} < set(names)


def test_an_executorch_without_its_tracer() -> None:
    pytest.importorskip("executorch.runtime", reason="needs executorch: pip install 'compressbuild[executorch]'")
    from cbuild_executorch.profile import Rows
    from executorch.devtools.etdump.schema_flatcc import ETDumpFlatCC, RunData

    empty = RunData(name="Execute", bundled_input_index=-1, allocators=[], events=[])
    for runs in ([], [empty]):
        with pytest.raises(UserError, match="this build of ExecuTorch cannot profile: it records no events"):
            Rows({}).runs(ETDumpFlatCC(version=0, run_data=runs), [10.0])


@pytest.mark.slow
@pytest.mark.parametrize("marked", [False, True])
def test_inductor(marked: bool, trained: Path, tmp_path: Path) -> None:
    """The C++ compiler takes most of a minute."""
    subject = compiled(tmp_path, "inductor", trained, InductorSettings(kernel_profile=marked))
    found = profiled("cbuild_inductor.profile:profile", trained, tmp_path / "out", subject=subject)
    counts = check(found, least=0.3)
    assert counts["aoti_torch_cpu_convolution" if marked else "aten::_convolution"] == 8
    names = [row.name for row in found.operators]
    assert len(set(names)) == len(names)
    kernels = [row for row in found.operators if row.op.startswith("cpp_fused_")]
    assert bool(kernels) is marked
    assert all(row.time_us > 0 for row in kernels)
    assert ("kernels" in found.describe) is not marked
    with zipfile.ZipFile(Path(subject.path) / "model.pt2") as package:
        (code,) = (package.read(name) for name in package.namelist() if name.endswith(".wrapper.cpp"))
    assert (b"KernelContextGuard" in code) is marked
    assert b"model.py" not in code, "no trace of the source, which would be parsed at every call"


def test_calls_of_a_package_are_told_apart_by_their_order() -> None:
    """What the native code does, by hand: an operator twice, with others inside, and a marked kernel."""

    def run() -> None:
        torch.nn.functional.conv2d(x, w)
        with torch.profiler.record_function("graph_0_cpp_fused_relu_3"):
            torch.relu(x)
        torch.nn.functional.conv2d(x, w)

    x, w = torch.ones(8, 4, 16, 16), torch.ones(4, 4, 3, 3)
    first, *_, last = [event for event in watched(run, Profiling(repeats=3, warmup=1)) if event.key == RUN]
    for event in (first, last):
        rows = operators(event.cpu_children)
        assert list(rows) == [
            ("aten::conv2d #1", "aten::conv2d"),
            ("cpp_fused_relu_3", "cpp_fused_relu"),
            ("aten::conv2d #2", "aten::conv2d"),
        ]
        assert 0 < sum(us for us, _ in rows.values()) <= event.time_range.elapsed_us()


@pytest.mark.parametrize("batch", [1, 128])
def test_the_batch_is_what_was_asked_for(batch: int, exported: Path, tmp_path: Path) -> None:
    found = profiled("cbuild_onnx.model.profile:profile", exported, tmp_path / "out", Profiling(batch=batch, repeats=3))
    assert found.batch == batch
