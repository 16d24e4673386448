"""Values on one line, as the strict reader of Compressfiles takes them."""

from __future__ import annotations

from typing import Any

import pytest

from compressbuild.compressfile.nodes import plain
from compressbuild.compressfile.problems import Problems
from compressbuild.compressfile.reader import read
from compressbuild.starter.flow import flow


@pytest.mark.parametrize(
    "value",
    [
        {"shape": ["batch", 3, 224], "dtype": "float32", "share": 0.5, "on": True, "off": None},
        {"no": "yes", "number": "12", "text": "a: b", "comma": "a, b", "empty": "", "dash": "-x", "tilde": "~"},
        {"factory": "nets.model:build", "file": "my model#1.onnx", "hash": "a #b", "time": "12:30", "ünï": "ö"},
        [{"quantize.weights": {"op-types": ["Conv", "Gemm"]}}, "export.onnx", "*-int8", "null", "a:", "[x]"],
    ],
)
def test_it_is_read_as_what_it_was(value: Any) -> None:
    problems = Problems({"f": ""})
    node = read(f"key: {flow(value)}\n", "f", problems)
    problems.check()
    assert node is not None
    assert plain(node) == {"key": value}
