"""What a report gathers from the store: warnings of what was not published, and layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx_models as models
from command import Inline
from toyproject import Toy

from compressbuild.plugins import discover
from compressbuild.report.document import gather

SHARES = """
from compressbuild.api import Metric, hookimpl

@hookimpl
def compressbuild_metrics():
    yield Metric(name="share", run="slipping_shares:share", per_class=True)

def share(ctx, subject, params):
    hits = 20 if next(subject.iterdir()).read_text().startswith("bad") else 39
    rows = {"0": {"n": 40, "correct": 39}, "1": {"n": 40, "correct": hits}}
    return {"value": (39 + hits) / 80, "n": 80, "correct": 39 + hits, "per_class": rows}
"""


def test_what_missed_its_gate_is_warned_about_too(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "slipping_shares.py").write_text(SHARES)
    monkeypatch.syspath_prepend(tmp_path)
    toy = Toy(tmp_path / "p")
    toy.write("good.txt", "good")
    toy.write("bad.txt", "bad")
    toy.write(
        "Compressfile",
        "version: 1\nmodels: {good: {file: good.txt}, bad: {file: bad.txt}}\n"
        "evaluate: {metrics: [share], baseline: good}\n"
        "targets: {t: {from: bad, steps: [toy.copy], gates: {share: {min: 0.9}}}}\n",
    )
    opened, registry = toy.open, discover(cache=None, extra=["toy", "slipping_shares"])

    def with_metric(overrides: Any = ()) -> Any:
        project = opened(overrides)
        project.__dict__["registry"] = registry
        return project

    monkeypatch.setattr(toy, "open", with_metric)
    report, _ = toy.build()
    assert report.targets[0].status == "gate failed"
    (target,) = gather(toy.open(), ["t"])["targets"]
    assert (target["published"], target["state"]) == (False, "gate failed")
    assert [w["message"] for w in target["warnings"]] == [w.message for w in report.targets[0].warnings]
    assert target["warnings"][0]["classes"] == ("1",)
    assert target["breakdowns"] == [
        {
            "metric": "share",
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
