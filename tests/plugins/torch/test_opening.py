"""``compressbuild.load_torch``: a published torch-model in a Python program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import toy_models
from cbuild_torch.prune.params.channels import PruneChannels

import compressbuild


def test_what_was_done_to_it_is_there(toy: Callable[..., Path], technique: Callable[..., object]) -> None:
    slim = technique("cbuild_torch.prune.channels:prune", toy("depthwise"), PruneChannels(ratio=0.5)).out
    module = compressbuild.load_torch(slim, factory=toy_models.depthwise)
    whole = toy_models.depthwise()
    assert not module.training
    assert sum(p.numel() for p in module.parameters()) < sum(p.numel() for p in whole.parameters())
    assert module(torch.zeros(2, 1, 8, 8)).shape == whole(torch.zeros(2, 1, 8, 8)).shape


def test_a_name_in_a_file_imports_nothing(toy: Callable[..., Path], tmp_path: Path) -> None:
    directory = toy("depthwise")
    file = directory / "model.json"
    file.write_text(file.read_text().replace("toy_models:depthwise", "os:getcwd"))
    with pytest.raises(compressbuild.UserError, match="the factory os:getcwd, which is yours to import") as caught:
        compressbuild.load_torch(directory)
    assert "from os import getcwd" in (caught.value.hint or "")


def test_what_is_no_model(tmp_path: Path, toy: Callable[..., Path]) -> None:
    with pytest.raises(compressbuild.UserError, match="is no torch-model"):
        compressbuild.load_torch(tmp_path)
    directory = toy("depthwise")
    (directory / "weights.safetensors").write_bytes(b"\x00")
    with pytest.raises(compressbuild.UserError, match=r"is damaged: weights\.safetensors is truncated"):
        compressbuild.load_torch(directory, factory=toy_models.depthwise)
    with pytest.raises(compressbuild.UserError, match="do not fit the module"):
        compressbuild.load_torch(toy("mlp"), factory=toy_models.depthwise)


def test_the_package_does_not_import_torch_for_it() -> None:
    code = "import compressbuild, sys; compressbuild.load_torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
