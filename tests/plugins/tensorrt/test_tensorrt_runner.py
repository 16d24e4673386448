"""Running an engine: buffers and copies on a driver made of host memory; the real thing where there is a GPU."""

from __future__ import annotations

import ctypes
import logging
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx_models as models
import pytest
from cbuild_tensorrt.cuda import Cuda
from cbuild_tensorrt.library import Library
from cbuild_tensorrt.logs import Sink
from cbuild_tensorrt.profile import profiled
from cbuild_tensorrt.runner import EngineRunner

from compressbuild.api import ModelInput, Profile, Profiling, Runner, UserError, WorkInput
from compressbuild.api.testing import make_context, run_node

# The driver's functions over malloc and memcpy; more than a tebibyte is "out of memory".
DRIVER = r"""
#include <stdlib.h>
#include <string.h>
typedef unsigned long long ptr;
int live = 0;
int cuInit(unsigned f) { return 0; }
int cuGetErrorString(int e, const char **s) { *s = e == 2 ? "out of memory" : "unknown"; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return i ? 101 : 0; }
int cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Malloc 4090", n); return 0; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)1; return 0; }
int cuCtxSetCurrent(void *c) { return c ? 0 : 201; }
int cuStreamCreate(void **s, unsigned f) { *s = (void *)7; return 0; }
int cuStreamSynchronize(void *s) { return s == (void *)7 ? 0 : 400; }
int cuMemAlloc_v2(ptr *p, size_t n) { if (n >> 40) return 2; *p = (ptr)malloc(n); live++; return 0; }
int cuMemFree_v2(ptr p) { free((void *)p); live--; return 0; }
int cuMemcpyHtoDAsync_v2(ptr d, const void *h, size_t n, void *s) { memcpy((void *)d, h, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *h, ptr d, size_t n, void *s) { memcpy(h, (void *)d, n); return 0; }
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    path = tmp_path_factory.mktemp("driver") / "libfakecuda.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-o", str(path), "-"]
    subprocess.run(command, input=DRIVER, text=True, check=True)
    return str(path)


class DoublingEngine:
    """y = 2·x for x of at most 4 rows, on addresses, as an ICudaEngine and its IExecutionContext."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.profiler: Any = None

    def create_execution_context(self) -> DoublingEngine:
        return self

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        x, y = ((ctypes.c_float * count).from_address(self.addresses[name]) for name in ("x", "y"))
        y[:] = [2 * value for value in x]
        for name, ms in (("copy of x", 0.001), ("double", 0.004), ("copy of x", 0.002)):
            if self.profiler is not None:
                self.profiler.report_layer_time(name, ms)
        return stream == 7


class IProfiler:
    """The base class that the bindings have."""


def runner(driver: str, **outputs: Any) -> EngineRunner:
    described = {
        "precision": "float32",
        "inputs": [{"name": "x", "shape": ["batch", 3], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": ["batch", 3], "dtype": "float32", **outputs}],
    }
    library = Library(SimpleNamespace(__version__="1.0", IProfiler=IProfiler), "tensorrt_rtx", "TensorRT-RTX")
    logger = SimpleNamespace(sink=Sink(logging.getLogger("cbuild")))
    return EngineRunner(library, DoublingEngine(), described, Cuda(library=driver), logger)


def test_runs_batches_of_any_size(driver: str) -> None:
    run = runner(driver)
    assert isinstance(run, Runner)
    assert run.inputs == (ModelInput("x", ("batch", 3), "float32"),)
    for rows in (1, 4, 2):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(run({"x": x})["y"], 2 * x)
    assert run.describe()["provider"] == "Malloc 4090"


def test_strided_feeds_are_copied_whole(driver: str) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T
    np.testing.assert_array_equal(runner(driver)({"x": x})["y"], 2 * x)


def test_buffers_are_reused_and_freed(driver: str) -> None:
    live = ctypes.c_int.in_dll(ctypes.CDLL(driver), "live")
    before = live.value
    run = runner(driver)
    for rows in (1, 4, 2, 4):
        run({"x": np.zeros((rows, 3), np.float32)})
    assert live.value == before + 2
    run.close()
    assert live.value == before


def test_the_time_of_each_layer(driver: str, tmp_path: Path) -> None:
    run = runner(driver)
    facts = profiled(make_context(tmp_path), run, Profiling(batch=4, repeats=5, warmup=2))
    found = msgspec.convert(facts, Profile)
    rows = {row.name: (row.op, row.time_us, row.calls) for row in found.operators}
    assert rows == {"copy of x": ("layer", pytest.approx(3.0), 2), "double": ("layer", pytest.approx(4.0), 1)}
    assert found.batch == 4
    assert found.run_us > 0
    assert found.describe["provider"] == "Malloc 4090"


def test_layers_that_nobody_reports(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runner(driver)
    monkeypatch.setattr(run, "observe", lambda profiler: None)
    with pytest.raises(UserError, match="TensorRT-RTX reported no times of layers"):
        profiled(make_context(tmp_path), run, Profiling(batch=1, repeats=2))


def test_a_shape_outside_the_profile(driver: str) -> None:
    with pytest.raises(UserError, match=r"does not take 'x' of shape \[5, 3\]"):
        runner(driver)({"x": np.zeros((5, 3), np.float32)})


def test_a_missing_input(driver: str) -> None:
    with pytest.raises(UserError, match="no value for input 'x'"):
        runner(driver)({"z": np.zeros((1, 3), np.float32)})


def test_an_output_type_that_numpy_lacks(driver: str) -> None:
    with pytest.raises(UserError, match="output 'y' is e8m0, which numpy cannot hold"):
        runner(driver, dtype="e8m0")


def test_cuda_errors_are_in_cudas_words(driver: str) -> None:
    with pytest.raises(UserError, match=r"cuMemAlloc_v2 failed: out of memory \(2\)"):
        Cuda(library=driver).allocate(1 << 41)
    with pytest.raises(UserError, match=r"cuDeviceGet failed"):
        Cuda(device=1, library=driver)


def test_no_driver_is_said_plainly() -> None:
    with pytest.raises(UserError, match="no CUDA driver: ") as caught:
        Cuda(library="libcuda-that-is-not-there.so.1")
    assert "NVIDIA GPU" in (caught.value.hint or "")


def has_gpu() -> bool:
    try:
        Cuda()
    except UserError:
        return False
    return True


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU with its driver")
@pytest.mark.parametrize(
    ("module", "backend", "settings"),
    [
        ("tensorrt_rtx", "rtx", {"compute-capability": "current"}),
        ("tensorrt", "standard", {"save-timing-cache": True}),
    ],
)
def test_an_engine_computes_what_onnx_runtime_does(
    module: str, backend: str, settings: dict[str, Any], artifacts: dict[str, Path], tmp_path: Path
) -> None:
    if not hasattr(pytest.importorskip(module, exc_type=ImportError), "__version__"):
        pytest.skip(f"{module} is a directory on the path, not the library")
    import cbuild_tensorrt
    import onnxruntime

    kind = cbuild_tensorrt.TensorRTRTXSettings if backend == "rtx" else cbuild_tensorrt.TensorRTSettings
    typed = msgspec.convert(settings, kind)
    node = run_node(f"cbuild_tensorrt.{backend}:compile", artifacts["fp32"], typed, tmp_path / "out")
    entry = WorkInput(
        path=str(node.out),
        kind="engine",
        load=f"cbuild_tensorrt.{backend}:load",
        settings=settings,
        settings_type=f"cbuild_tensorrt.settings:{kind.__name__}",
    )
    run = make_context(tmp_path / "ctx", subject=entry).runner("subject")
    session = onnxruntime.InferenceSession(str(artifacts["fp32"] / "model.onnx"))
    for rows in (1, 8, 64):
        x = models.images(rows)
        np.testing.assert_allclose(
            run({"image": x})["logits"], session.run(None, {"image": x})[0], rtol=1e-2, atol=1e-2
        )
    asked = Profiling(batch=8, repeats=9)
    facts = run_node(f"cbuild_tensorrt.{backend}:profile", entry, asked, tmp_path / "profile").facts
    found = msgspec.convert(facts, Profile)
    assert 0 < sum(row.time_us for row in found.operators) < found.run_us
