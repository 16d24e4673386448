"""The log of a step is for its cause: what libraries say of themselves stays out."""

from __future__ import annotations

import logging
import subprocess
import sys

import cbuild_torch.model.module as _  # noqa: F401  what every step of a torch model imports before the model's code
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


@pytest.mark.parametrize("name", ["torchao", "torchao.kernel.intmm", "torch.utils._pytree"])
def test_only_errors_of_it_are_logged(name: str) -> None:
    logger = logging.getLogger(name)
    assert (logger.isEnabledFor(logging.WARNING), logger.isEnabledFor(logging.ERROR)) == (False, True)


@pytest.mark.slow
def test_a_library_that_a_model_imports_says_nothing_of_kernels_that_it_lacks() -> None:
    pytest.importorskip("torchao")
    assert said("cbuild_torch.model.module") == ""
