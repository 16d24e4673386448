"""Two environments with CUDA libraries of their own, on a machine with two GPUs: which device and which libraries each
step gets. The GPUs are what ``nvidia-smi`` says; the libraries are real ones, which the loader opens."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from twotools import TwoTools
from wheels import wheel

SMI = """#!/bin/sh
echo "0, GPU-aaaa, NVIDIA H200, 9.0, 143771, 570.00"
echo "1, GPU-bbbb, NVIDIA H200, 9.0, 143771, 570.00"
"""
STEP = """
import os
from pathlib import Path


def stamp(ctx, model: Path, params) -> dict:
    import ctypes
    import time

    end = time.monotonic() + 60  # both run at once, so that they cannot have one device
    room = Path({room!r})
    (room / "{name}").touch()
    while len(list(room.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    text = next(model.iterdir()).read_text()
    (ctx.out / "value").write_text(text)
    at = os.environ.get("LD_LIBRARY_PATH", "")
    print("seen", [os.environ["CUDA_VISIBLE_DEVICES"], ctypes.CDLL("libtinycuda.so").version(), at.split(os.pathsep)])
    return {{}}
"""
COMPRESSFILE = """version: 1
models:
  m: {file: f.txt, kind: text}
targets:
  older: {from: m, steps: [{tool.old: {}, gpus: 1}]}
  newer: {from: m, steps: [{tool.new: {}, gpus: 1}]}
"""


def library(path: Path, version: int) -> Path:
    """A shared library whose ``version`` gives that."""
    path.parent.mkdir(parents=True)
    source = path.with_suffix(".c")
    source.write_text(f"int version(void) {{ return {version}; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    source.unlink()
    return path


@pytest.fixture
def seen(fresh: TwoTools, wheels: Path, tmp_path: Path) -> dict[str, tuple[str, int, list[str]]]:
    """Name of an environment → its step's devices, the version that its library has, where the loader looks."""
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and Linux")
    shelf, room, programs = tmp_path / "shelf", tmp_path / "room", tmp_path / "programs"
    for folder in (shelf, room, programs):
        folder.mkdir()
    for path in wheels.glob("msgspec-*"):
        shutil.copy(path, shelf)
    fresh.shelf = shelf
    for name, version in (("old", 1), ("new", 2)):
        content = library(tmp_path / name / "libtinycuda.so", version).read_bytes()
        files = {"tinytool/__init__.py": b"", "nvidia/tiny/lib/libtinycuda.so": content}
        wheel(shelf, "tinytool", f"{version}.5", files)
        fresh.lock(name, f"{version}.5")
        step = STEP.format(room=str(room), name=name)
        (fresh.site / f"twotools/{name}.py").write_text(step)
    (programs / "nvidia-smi").write_text(SMI)
    (programs / "nvidia-smi").chmod(0o755)
    # What the engine's Python has installed, and what the machine has.
    engines = fresh.root.parent / "engine/lib/site-packages"
    library(engines / "nvidia/tiny/lib/libtinycuda.so", 100)
    library(tmp_path / "machine/libtinycuda.so", 200)
    libraries = os.pathsep.join([str(engines / "nvidia/tiny/lib"), str(tmp_path / "machine")])
    usual = fresh.environment()
    more = {
        "PATH": f"{programs}{os.pathsep}{usual['PATH']}",
        "PYTHONPATH": f"{usual['PYTHONPATH']}{os.pathsep}{engines}",
        "LD_LIBRARY_PATH": libraries,
        "CBUILD_SANDBOX": "none",  # they meet in a directory outside of the project
    }
    fresh.write("Compressfile", COMPRESSFILE)
    fresh("all", "-j", "2", timeout=300, **more)
    found = {}
    for target, name in (("older", "old"), ("newer", "new")):
        log = (fresh.root / f".cbuild/logs/{target}~tool.{name}.log").read_text()
        said = re.search(r"^seen (.*)$", log, re.MULTILINE)
        assert said is not None, log
        found[name] = ast.literal_eval(said[1])
    found["machine"] = ("", 0, [str(tmp_path / "machine")])
    found["places"] = ("", 0, [str(fresh.place("old")), str(fresh.place("new"))])
    return found


def test_each_step_has_its_own_device_and_its_own_environments_libraries(
    seen: dict[str, tuple[str, int, list[str]]],
) -> None:
    assert {seen["old"][0], seen["new"][0]} == {"GPU-aaaa", "GPU-bbbb"}
    assert (seen["old"][1], seen["new"][1]) == (1, 2)
    for name, place in zip(("old", "new"), seen["places"][2], strict=True):
        first, *others = seen[name][2]
        assert first.startswith(f"{place}/lib/python3.")
        assert first.endswith("/site-packages/nvidia/tiny/lib")
        assert others == seen["machine"][2], "the machine's come after, and the engine's are not there"
