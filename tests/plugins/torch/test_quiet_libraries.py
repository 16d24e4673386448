"""The log of a step is for its cause: what libraries say of themselves stays out."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODEL_CODE = """
import logging, sys
logging.basicConfig(stream=sys.stderr)  # as a worker does
import {first}
import torchao.kernel.intmm, torchao.quantization
"""


def said(first: str) -> str:
    command = [sys.executable, "-c", MODEL_CODE.format(first=first)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stderr


def test_a_library_that_a_model_imports_says_nothing_of_kernels_that_it_lacks() -> None:
    pytest.importorskip("torchao")
    assert said("cbuild_torch.model.module") == ""
