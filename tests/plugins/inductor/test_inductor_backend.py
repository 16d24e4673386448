from __future__ import annotations

import zipfile
from pathlib import Path

import digits as digits_example
import msgspec
import numpy as np
import pytest
import torch
from cbuild_inductor.artifact import Package, validate
from cbuild_inductor.manifest import compressbuild_backends, compressbuild_kinds
from cbuild_inductor.runner import load
from cbuild_inductor.settings import InductorSettings
from cbuild_kit.interface import Interface

from compressbuild.api import ModelInput, UserError, WorkInput
from compressbuild.api.testing import make_context

COMPILE = "cbuild_inductor.compile:compile"
IMAGE = ModelInput("image", ("batch", 1, 8, 8), "float32")
PACKAGE = Package(Interface((IMAGE,), ("logits",)), "cpu", "2.13.0")


def package(directory: Path, **members: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    PACKAGE.write(directory)
    with zipfile.ZipFile(directory / "model.pt2", "w") as archive:
        for name, data in members.items():
            archive.writestr(f"model/{name.replace('_', '.')}", data)
    return directory


@pytest.mark.slow
def test_compiles_runs_and_compares(tmp_path: Path) -> None:
    """The C++ compiler takes most of a minute."""
    source = digits_example.source(tmp_path / "source", width=4)
    node = digits_example.apply(COMPILE, source, InductorSettings(), tmp_path / "out")
    assert sorted(path.name for path in node.out.iterdir()) == ["interface.json", "model.pt2"]
    validate(node.out)
    assert node.facts["sqnr_db"] > 80
    assert node.facts["parity"]["cases"] == ["random batch=3", "random batch=1", "random batch=16", "zeros"]
    entry = WorkInput(path=str(node.out), kind="aoti-package", load="cbuild_inductor.runner:load")
    runner = make_context(tmp_path / "ctx", subject=entry).runner("subject")
    assert runner.inputs == (ModelInput("image", ("batch", 1, 8, 8), "float32"),)
    described = runner.describe()
    assert described["runtime"] == "torch-inductor"
    assert {type(value) for value in described.values()} == {str, int}, "JSON values, for the action result"
    feeds, _ = digits_example.held_out()
    wanted = digits_example.outputs(source, feeds)
    found = runner(feeds)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
    for strange in ({"image": np.zeros((1, 1, 9, 8), np.float32)}, {"image": np.zeros((1, 1, 8, 8))}, {}):
        with pytest.raises(UserError, match="the package cannot be run: "):
            runner(strange)


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    source = digits_example.source(tmp_path / "source", width=4)
    with pytest.raises(UserError, match="this torch finds no CUDA device"):
        digits_example.apply(COMPILE, source, InductorSettings(device="cuda"), tmp_path / "out")


@pytest.mark.parametrize(
    ("factory", "hint"), [("branch", "control flow that depends on data"), ("fixed", "write the number there")]
)
def test_a_model_that_cannot_be_traced_is_one_line(factory: str, hint: str, tmp_path: Path) -> None:
    factory = f"untraceable_models:{factory}"
    source = digits_example.source(
        tmp_path / "source", factory=factory, inputs=[["image", ["batch", 1, "height", 8], "float32"]]
    )
    with pytest.raises(UserError, match="torch cannot trace this model: ") as caught:
        digits_example.apply(COMPILE, source, InductorSettings(), tmp_path / "out", factories=(factory,))
    assert "\n" not in str(caught.value)
    assert hint in (caught.value.hint or "")
    assert factory.endswith("fixed") or ", at untraceable_models.py:" in str(caught.value), "the line of the model"


def test_interface_comes_back_as_written(tmp_path: Path) -> None:
    PACKAGE.write(tmp_path)
    assert Package.read(tmp_path) == PACKAGE
    (tmp_path / "interface.json").write_text('{"inputs": [{}]}')
    with pytest.raises(ValueError, match=r"interface.json is damaged: KeyError"):
        Package.read(tmp_path)


def test_validate_refuses_damage(tmp_path: Path) -> None:
    validate(package(tmp_path / "good", wrapper_so=b"code"))
    with pytest.raises(ValueError, match="holds no compiled model"):
        validate(package(tmp_path / "empty", notes_txt=b"nothing"))
    cut = package(tmp_path / "cut", wrapper_so=b"code")
    (cut / "model.pt2").write_bytes((cut / "model.pt2").read_bytes()[:20])
    with pytest.raises(ValueError, match="is not a package, or it is cut off"):
        validate(cut)
    bent = package(tmp_path / "bent", wrapper_so=b"code" * 100)
    data = bytearray((bent / "model.pt2").read_bytes())
    data[data.index(b"codecode") + 5] ^= 1
    (bent / "model.pt2").write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged: model/wrapper\.so"):
        validate(bent)


def test_a_package_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot load the package: ") as caught:
        load(make_context(tmp_path / "ctx"), package(tmp_path / "p", wrapper_so=b"code"), None)
    assert "\n" not in str(caught.value)
    assert "it was compiled with torch 2.13.0" in (caught.value.hint or "")


def test_records() -> None:
    (backend,) = compressbuild_backends()
    (kind,) = compressbuild_kinds()
    assert (backend.consumes, backend.produces) == (("torch-model",), kind.name)
    assert backend.compile_needs.programs
    assert not backend.run_needs.programs
    assert backend.nondeterministic
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'gpu'"):
        msgspec.convert({"device": "gpu"}, InductorSettings)
    with pytest.raises(
        msgspec.ValidationError, match="'kernel-profile' is only for 'device: cpu', but the device is cuda"
    ):
        msgspec.convert({"device": "cuda", "kernel-profile": True}, InductorSettings)
