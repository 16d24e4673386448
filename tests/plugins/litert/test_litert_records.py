"""What the LiteRT plugin declares, without its packages: locks, parameters, and where its steps run."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

import msgspec
import pytest
from cbuild_litert.artifact import validate, validate_compiled
from cbuild_litert.manifest import compressbuild_backends, compressbuild_kinds, compressbuild_techniques
from cbuild_litert.params import QuantizeTflite

from compressbuild.environment.lockfile import read_lock
from compressbuild.project import Project
from compressbuild.words import pythons

PLACE = Path(importlib.util.find_spec("cbuild_litert").submodule_search_locations[0])
RECORDS = [*compressbuild_kinds(), *compressbuild_techniques(), *compressbuild_backends()]
ENVIRONMENTS = {record.stack.environment.name: record.stack.environment for record in RECORDS}
CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"


@pytest.mark.parametrize("name", ["litert", "vela"])
def test_the_lock_pins_all_that_the_steps_run_on(name):
    environment = ENVIRONMENTS[name]
    package, _, file = environment.requirements.partition(":")
    assert package == "cbuild_litert"
    lock = read_lock(str(PLACE / file), file)
    tools = {tool for record in RECORDS if record.stack.environment == environment for tool in record.stack.tools}
    assert tools <= lock.versions.keys()
    asked = [line.partition("==")[0] for line in (PLACE / file).with_suffix(".in").read_text().splitlines()]
    assert {each.replace("_", "-") for each in asked} <= lock.versions.keys()
    assert all(len(pin.hashes) >= 1 for pin in lock.pins)
    assert [minor for minor in range(10, 16) if pythons(environment.python, minor)] == [11, 12, 13]


@pytest.mark.parametrize(
    ("system", "machine", "fits"),
    [("linux", "x86_64", True), ("darwin", "arm64", True), ("linux", "aarch64", False), ("darwin", "x86_64", False)],
)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_says_which_machines_it_is_for(system, machine, fits, python, monkeypatch):
    """A machine that it is not for would get an empty environment, and each step would fail in it."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    lock = read_lock(str(PLACE / "requirements.txt"), "requirements.txt")
    assert lock.fits(python) == fits
    applying = {pin.name: pin.version for pin in lock.applying(python)}
    assert len(applying) == len(lock.applying(python))  # each in one version
    assert applying.get("torch") == ({"linux": "2.13.0+cpu", "darwin": "2.13.0"}[system] if fits else None)
    assert ({"litert-torch", "numpy", "jaxlib"} <= applying.keys()) == fits


def test_torch_is_the_one_that_the_tests_of_other_plugins_run_on():
    """The float source is computed in both environments. Its CPU build: the other one brings gigabytes of CUDA."""
    lock = read_lock(str(PLACE / "requirements.txt"), "requirements.txt")
    pinned = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    version = pinned.removeprefix("torch==")
    assert lock.versions["torch"] == f"{version} or {version}+cpu"  # elsewhere than on Linux, there is no other build
    (ours,) = [pin for pin in lock.pins if pin.version == f"{version}+cpu"]
    assert len(ours.hashes) == 3  # a wheel for each version of Python
    assert not any(name.startswith("nvidia") for name in lock.versions)


def test_each_record_has_an_environment_of_its_own():
    assert all(record.stack.environment is not None for record in RECORDS)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"precision": "int8"}, "needs 'data', a dataset to calibrate on"),
        ({"precision": "int8-dynamic", "io": "int8"}, "'io: int8' is only for 'precision: int8'"),
        ({}, "precision"),
        ({"precision": "int8", "data": "few", "samples": 0}, "samples"),
    ],
)
def test_parameters_that_cannot_be(written, said):
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(written, QuantizeTflite)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "0 .tflite files, one is needed"),
        ({"a.tflite": b"", "b.tflite": b""}, "2 .tflite files"),
        ({"a.tflite": b"\x1c\0\0\0ONNX"}, "a.tflite is not a LiteRT"),
        ({"a.tflite": b""}, "a.tflite is not a LiteRT"),
        ({"a.tflite": b"\x1c\0\0\0TFL3", "interface.json": b"{"}, "interface.json is damaged"),
    ],
)
def test_what_is_no_model_is_refused(files, said, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for check in (validate, validate_compiled):
        with pytest.raises(ValueError, match=said):
            check(tmp_path)


def test_a_model_without_commands_is_not_for_an_ethos_u(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    with pytest.raises(ValueError, match="holds nothing for an Ethos-U"):
        validate_compiled(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64) + b"ethos-u\0")
    validate_compiled(tmp_path)


def test_what_its_steps_import_of_other_plugins_is_found_in_the_environment(tmp_path):
    """There, a package is found by its name alone; installed for development, a distribution does not list its own."""
    (tmp_path / "Compressfile").write_text(
        "version: 1\nmodels: {net: {factory: 'net:build', inputs: {x: {shape: [1, 2], dtype: float32}}}}\n"
        "targets: {app: {from: net, steps: [export.tflite], platform: android-litert}}\n"
    )
    (tmp_path / "net.py").write_text("def build():\n    return None\n")
    project = Project(tmp_path / "Compressfile")
    found = project.keyer.packages(node for node in project.graph.nodes if node.name == "export.tflite")
    assert {"cbuild_litert", "cbuild_kit", "cbuild_torch"} <= found
    assert not found & {"compressbuild", "torch", "msgspec", "net"}
