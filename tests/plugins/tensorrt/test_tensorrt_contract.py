"""Every TensorRT name that the plugin uses exists in the real bindings of versions 10 and 11 and of TensorRT-RTX.

The bindings of 11 are a wheel of their own, which imports once its shared libraries are found; empty ones will do to
look at its classes. What the bindings of 10.0 have is kept in a file beside this one, made the same way (``API_DUMP``).
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PLUGIN = Path(importlib.util.find_spec("cbuild_tensorrt").submodule_search_locations[0])  # type: ignore[union-attr, index]
OLDEST = HERE / "api_tensorrt_10_0_1.json"

# The name of a variable in the plugin's code → the class of what it holds.
VARIABLES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime": "Runtime",
}
CONTRACT_FILES = (
    "compile",
    "library",
    "onnx_parser",
    "ranges",
    "flags",
    "progress",
    "logs",
    "standard",
    "rtx",
    "runner",
    "profile",
)
RTX_ONLY = {
    "ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}

API_DUMP = """
import json, sys
name = sys.argv[1]
trt = __import__(name)
api = {n: [a for a in dir(o) if not a.startswith("__")] for n, o in vars(trt).items() if isinstance(o, type)}
print(json.dumps({"version": trt.__version__, **api}, sort_keys=True))
"""
FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
)


def used() -> set[str]:
    """``Class`` and ``Class.attribute`` for every use of TensorRT in the plugin's source."""
    found = set()
    for file in CONTRACT_FILES:
        for node in ast.walk(ast.parse((PLUGIN / f"{file}.py").read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id="trt") | ast.Attribute(attr="trt"), attr=name):
                    found.add(name)
                case ast.Attribute(value=ast.Name(id=variable), attr=name) if variable in VARIABLES:
                    found.add(f"{VARIABLES[variable]}.{name}")
                case ast.Attribute(value=ast.Attribute(value=ast.Name(id="trt"), attr=owner), attr=name):
                    found.add(f"{owner}.{name}")
    return {name for name in found if not name.endswith("__")}


def missing(api: dict[str, list[str]]) -> set[str]:
    return {
        name
        for name in used()
        if not (name.split(".")[0] in api and ("." not in name or name.split(".")[1] in api[name.split(".")[0]]))
    }


def test_the_scan_sees_what_the_plugin_uses() -> None:
    found = used()
    assert {"Builder", "OnnxParser", "ILogger.Severity", "Builder.build_serialized_network"} <= found
    assert {"ICudaEngine.create_execution_context", "IExecutionContext.execute_async_v3"} <= found
    assert {"IProfiler", "IExecutionContext.profiler"} <= found
    assert {"IBuilderConfig.set_timing_cache", "OnnxParser.parse_from_file", "ParserError.node_operator"} <= found
    assert {"IOptimizationProfile.set_shape_input", "BuilderFlag.VERSION_COMPATIBLE"} <= found
    assert len(found) > 40


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment where libnvinfer 11 is found: shared libraries whose functions return nothing."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("needs a C compiler and the wheel tensorrt_cu13_bindings")
    directory = tmp_path_factory.mktemp("lib")
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS)
    for library in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"):
        name = f"{library}.so.11"
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-x", "c", "-o", str(directory / name), "-"]
        subprocess.run(command, input=source, text=True, check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(directory)}


def run(script: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, env=env, text=True, capture_output=True, check=True).stdout


def test_tensorrt_11_has_every_name(libraries: dict[str, str]) -> None:
    api = json.loads(run(API_DUMP, "tensorrt_bindings", env=libraries))
    assert api["version"].startswith("11.")
    assert missing(api) == RTX_ONLY


def test_tensorrt_10_has_every_name() -> None:
    api = json.loads(OLDEST.read_text())
    assert api["version"] == "10.0.1"
    assert missing(api) == RTX_ONLY


def test_tensorrt_rtx_has_every_name() -> None:
    pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    assert missing(json.loads(run(API_DUMP, "tensorrt_rtx"))) == set()


def test_all_call_the_method_that_the_profiler_has(libraries: dict[str, str]) -> None:
    """It is inherited from and overridden, so the scan does not see it."""
    assert "def report_layer_time(self, layer_name: str, ms: float)" in (PLUGIN / "profile.py").read_text()
    apis = [json.loads(OLDEST.read_text()), json.loads(run(API_DUMP, "tensorrt_bindings", env=libraries))]
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        apis.append(json.loads(run(API_DUMP, "tensorrt_rtx")))
    for api in apis:
        assert "report_layer_time" in api["IProfiler"]


def test_both_have_the_enum_members_that_settings_name(libraries: dict[str, str]) -> None:
    api = json.loads(run(API_DUMP, "tensorrt_bindings", env=libraries))
    for name in ("NONE", "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"):
        assert name in api["HardwareCompatibilityLevel"]
    assert "STRONGLY_TYPED" in api["NetworkDefinitionCreationFlag"]
    assert "STRONGLY_TYPED" in json.loads(OLDEST.read_text())["NetworkDefinitionCreationFlag"]


def test_the_real_bindings_without_their_library_give_a_clear_error(libraries: dict[str, str], tmp_path: Path) -> None:
    """The bindings import, but no builder comes back: what happens with no GPU, or a driver too old."""
    script = """
import sys, tensorrt_bindings
from pathlib import Path
sys.modules["tensorrt"] = tensorrt_bindings
from compressbuild.api import UserError
from compressbuild.api.testing import run_node
from cbuild_tensorrt.settings import TensorRTSettings
try:
    run_node("cbuild_tensorrt.standard:compile", Path(sys.argv[1]), TensorRTSettings(), Path(sys.argv[1]) / "out")
except UserError as error:
    print(error, "|", error.hint)
"""
    said = run(script, str(tmp_path), env=libraries)
    assert said.startswith("TensorRT 11.")
    assert "cannot start: no reason was given | it needs an NVIDIA GPU, and a driver for this version" in said
