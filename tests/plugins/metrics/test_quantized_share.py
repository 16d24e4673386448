"""The share of a model that is quantized, by weights of every type and by arithmetic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cbuild_metrics.cost.params import Shapes
from cbuild_metrics.cost.precision import quantized_share

from compressbuild.api import Census, Macs, Weight


def measured(weights: list[Weight], by_type: dict[str, int]) -> dict[str, Any]:
    macs = Macs(value=sum(by_type.values()), by_operator={}, by_type=by_type)
    census = Census(weights=lambda: weights, macs=lambda axes: macs, traffic=lambda axes, batch: 0)
    context: Any = SimpleNamespace(census=lambda name: census)
    return quantized_share(context, Path(), Shapes())


def weight(name: str, dtype: str, *shape: int, packed: int = 0) -> Weight:
    return Weight(name=name, array=np.zeros(shape, np.int8), dtype=dtype, operator="MatMul", packed=packed)


@pytest.mark.parametrize(
    ("dtype", "share"),
    [("int8", 0.75), ("uint4", 0.75), ("float8e4m3fn", 0.75), ("float16", 0.0), ("bfloat16", 0.0), ("float32", 0.0)],
)
def test_a_type_below_16_bits_counts(dtype: str, share: float) -> None:
    found = measured([weight("a", dtype, 3, 4), weight("b", "float32", 2, 2)], {"int8": 30, "float": 10})
    assert (found["value"], found["macs"]) == (share, 0.75)


def test_packed_numbers_count_by_their_number_and_vectors_do_not_count() -> None:
    rows = [weight("a", "uint8", 2, 4, packed=16), weight("b", "float32", 4, 4), weight("bias", "float32", 99)]
    found = measured(rows, {"float": 10})
    assert (found["value"], found["macs"]) == (0.5, 0.0)
    assert found["float"] == [{"name": "b", "op": "MatMul", "shape": [4, 4], "n": 16}]


def test_a_model_without_weights() -> None:
    assert measured([], {}) == {"value": 0.0, "macs": 0.0, "float": []}
