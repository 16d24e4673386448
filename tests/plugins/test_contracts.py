"""Every technique, backend, metric and kind of the first-party plugins keeps its contract.

All in one file: they share models, and warm parents that take long to start.
"""

from __future__ import annotations

from pathlib import Path

import contracts.of_backends
import contracts.of_litert
import contracts.of_llm
import contracts.of_metrics
import contracts.of_onnx
import contracts.of_qnn
import contracts.of_torch
import contracts.of_vllm
import pytest
from contracts.classes import BASES, named

from compressbuild.registry import discover

MODULES = (
    contracts.of_torch,
    contracts.of_onnx,
    contracts.of_metrics,
    contracts.of_backends,
    contracts.of_litert,
    contracts.of_llm,
    contracts.of_qnn,
    contracts.of_vllm,
)
CLASSES = {name: found for module in MODULES for name, found in named(module).items()}
globals().update(CLASSES)

# Whatever they are given has a size.
TAKES_ALL = ("size", "compressed-size")


def records(what: str) -> list[tuple[str, str]]:
    return [(what, name) for name in sorted(getattr(discover(cache=None), f"{what}s"))]


@pytest.mark.parametrize(
    ("what", "name"), [each for what in ("technique", "backend", "metric", "kind") for each in records(what)]
)
def test_each_record_has_a_contract(what: str, name: str, tmp_path: Path) -> None:
    found = [each for each in CLASSES.values() if issubclass(each, BASES) and each.what == what and each().name == name]
    assert len(found) == 1, f"{what} '{name}' has no contract: list it in contracts/of_….py"
    if what != "kind" and name not in TAKES_ALL:
        contract = found[0]()
        refused = [*contract.unfit(tmp_path), *getattr(contract, "unfit_params", ())]
        assert refused, f"what can {what} '{name}' not take? Say it in unfit() or unfit_params"
