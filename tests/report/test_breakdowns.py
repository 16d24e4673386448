"""Tables of metrics, and layers, as the report shows them."""

from __future__ import annotations

import math

from compressbuild.report.data.breakdowns import breakdowns
from compressbuild.report.data.layers import shown_layers


def test_classes_stand_beside_the_baselines() -> None:
    own = {"top1": {"value": 0.5, "per_class": {"a": {"n": 10, "correct": 5}, "b": {"n": 0, "correct": 0}}}}
    base = {"top1": {"per_class": {"a": {"n": 10, "correct": 9}}}}
    assert list(breakdowns(own, base)) == [
        {
            "metric": "top1",
            "by": "class",
            "rows": {"a": {"value": 0.5, "base": 0.9, "n": 10}, "b": {"value": None, "base": None, "n": 0}},
        }
    ]


def test_rows_have_the_name_and_the_columns_that_the_metric_gives_them() -> None:
    own = {
        "edges": {"value": 1, "rows": "case", "per_class": {"nan": {"value": 1.0, "n": 1, "refused": True, "x": "y"}}}
    }
    assert list(breakdowns(own, {})) == [
        {"metric": "edges", "by": "case", "rows": {"nan": {"value": 1.0, "base": None, "n": 1, "refused": True}}}
    ]


def test_other_tables() -> None:
    own = {
        "throughput": {"value": 9, "batches": {"1": {"value": 4.0}, "8": {"value": 9.0}}, "describe": {"threads": "1"}},
        "distinct": {"value": 3, "per_tensor": {"w": 3}},
        "curve": {"value": 1, "table": [{"at": 1, "y": math.inf}, {"at": 2, "y": 0.5}]},
        "latency": {"value": 1, "baseline": {"value": 2}, "labels": "abc"},
    }
    found = {(b["metric"], b["by"]): b["rows"] for b in breakdowns(own, {})}
    assert found == {
        ("throughput", "batches"): {"1": {"value": 4.0}, "8": {"value": 9.0}},
        ("distinct", "tensor"): {"w": {"value": 3}},
        ("curve", "table"): {"1": {"at": 1, "y": None}, "2": {"at": 2, "y": 0.5}},
    }


def test_layers_carry_the_sensitivity_that_a_step_measured() -> None:
    row = {"name": "w", "node": "conv1", "n": 4, "histogram": [1, 4, 2]}
    other = {"name": "v", "node": "conv2", "n": 4, "histogram": []}
    vectors = {"tensors": 0, "n": 0, "bytes": 0, "nonzero": 0}
    facts = [{}, {"sensitivity": [{"layer": "conv1", "drop_alone": 0.25, "sqnr_alone": 9.0}]}]
    shown = shown_layers({"layers": [row, other], "vectors": vectors}, facts)
    assert shown == {
        "rows": [
            {"name": "w", "n": 4, "histogram": [25, 100, 50], "drop_alone": 0.25, "sqnr_alone": 9.0},
            {"name": "v", "n": 4, "histogram": []},
        ],
        "vectors": vectors,
    }
