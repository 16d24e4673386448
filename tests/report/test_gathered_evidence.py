"""What a report gathers from the store: warnings of what was not published, and layers."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_models as models
from command import Inline
from toyproject import one_collapsed

from compressbuild.report.data.document import gather


def test_what_missed_its_gate_is_warned_about_too(tmp_path: Path) -> None:
    toy = one_collapsed(tmp_path, "{shares: {min: 0.9}}")
    report, _ = toy.build()
    assert report.targets[0].status == "gate failed"
    (target,) = gather(toy.open(), ["t"])["targets"]
    assert (target["published"], target["state"]) == (False, "gate failed")
    assert [w["message"] for w in target["warnings"]] == [w.message for w in report.targets[0].warnings]
    assert target["warnings"][0]["classes"] == ("1",)
    assert target["breakdowns"] == [
        {
            "metric": "shares",
            "by": "class",
            "rows": {"0": {"value": 0.975, "base": 0.975, "n": 40}, "1": {"value": 0.5, "base": 0.975, "n": 40}},
        }
    ]


def test_layers_are_looked_at_once_for_equal_models_and_are_no_metric(tmp_path: Path) -> None:
    work = Inline(tmp_path / "p")
    models.save(models.cnn(), work.root / "net")
    work.write(
        "Compressfile",
        "version: 1\nmodels: {net: {file: net/model.onnx}}\nplatforms: {cpu: {backend: onnxruntime}}\n"
        "evaluate: {metrics: [size]}\ntargets:\n"
        "  half: {from: net, steps: [convert.fp16]}\n  on-cpu: {from: half, platform: cpu}\n",
    )
    work("all")
    found = json.loads(work("report", "--format", "json").out)
    assert [t["layers"] for t in found["targets"]] == ["half/layers", "half/layers"]
    assert list(found["layers"]) == ["half/layers"]
    rows = found["layers"]["half/layers"]["rows"]
    assert {row["dtype"] for row in rows} == {"float16"}
    assert all(max(row["histogram"]) == 100 for row in rows)
    assert [list(t["metrics"]) for t in found["targets"]] == [["size"], ["size"]]
    published = json.loads((work.root / "build/half/metrics.json").read_text())
    assert list(published["metrics"]) == ["size"]
    assert "0 run" in work("all").text or "nothing to do" in work("all").text
