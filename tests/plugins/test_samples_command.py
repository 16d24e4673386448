"""What flipped samples are: ``--samples`` of ``cbuild compare`` and ``cbuild report``, with two ONNX files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx_models as models
import pytest
from cbuild_kit.previews import png
from command import Inline
from onnx import TensorProto, helper, numpy_helper

TEXT = """\
version: 1
models: {net: {file: net/model.onnx}, worse: {file: worse/model.onnx}}
datasets:
  test: {npz: test.npz, labels: y, divide: 255}
  said: {loader: data:said, files: [test.npz]}
  broken: {loader: data:broken, files: [test.npz]}
evaluate: {data: test, metrics: [top1], baseline: good}
targets:
  good: {from: net}
  bad: {from: worse}
  words: {from: net, evaluate: {data: said, metrics: [top1]}}
  badwords: {from: worse, evaluate: {data: said, metrics: [top1], baseline: words}}
  lost: {from: net, evaluate: {data: broken, metrics: [top1]}}
  badlost: {from: worse, evaluate: {data: broken, metrics: [top1], baseline: lost}}
"""

DATA = """\
from pathlib import Path

import numpy as np

class Rows:
    def __init__(self):
        self.file = np.load(Path(__file__).parent / "test.npz")
    def __iter__(self):
        yield self.file["x"].astype(np.float32) / 255, self.file["y"]

class Said(Rows):
    def preview(self, numbers):
        return [f"<img src=x onerror=alert({n})>\\x1b[31m number {n}" for n in numbers]

class Broken(Rows):
    def preview(self, numbers):
        raise ValueError("no picture today")

said, broken = Said, Broken
"""

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8)).astype(np.uint8)


def linear(weights: np.ndarray) -> Any:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["logits"])]
    form = {"x": (TensorProto.FLOAT, ["batch", 1, 8, 8])}
    return models.model(
        nodes, form, {"logits": (TensorProto.FLOAT, ["batch", 3])}, [numpy_helper.from_array(weights, "w")]
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Inline:
    rng = np.random.default_rng(1)
    right = rng.standard_normal((64, 3)).astype(np.float32)
    wrong = rng.standard_normal((64, 3)).astype(np.float32)
    labels = (PIXELS.reshape(60, 64).astype(np.float32) / 255 @ right).argmax(1)
    labels[:6] = (labels[:6] + 1) % 3  # which both may get wrong, or the second right
    work = Inline(tmp_path_factory.mktemp("samples") / "project")
    models.save(linear(right), work.root / "net")
    models.save(linear(wrong), work.root / "worse")
    np.savez(work.root / "test.npz", x=PIXELS, y=labels)
    work.write("data.py", DATA)
    work.write("Compressfile", TEXT)
    work("all")
    return work


def compared(project: Inline, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project("compare", *options, "--json").out)
    return found


def page(project: Inline, *words: str) -> dict[str, Any]:
    project(*words, "-o", "page.html")
    text = (project.root / "page.html").read_text()
    assert "<img src=x" not in text  # of a dataset's text, which is data
    found: dict[str, Any] = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    return found


def nothing_runs() -> Any:
    return mock.patch("compressbuild.build.run.Build.run", side_effect=AssertionError("something ran"))


def test_pictures(project: Inline) -> None:
    with nothing_runs():
        assert page(project, "compare", "good", "bad", "--format", "html")["samples"] is None
        document = json.loads(project("report", "--format", "json").out)
        assert [t["flipped"]["looked"] for t in document["targets"] if t["name"] == "bad"] == [False]
    published = project.published()
    found = compared(project, "good", "bad", "--samples")
    quality = found["quality"]
    numbers = [*quality["lost"][:20], *quality["won"][:20]]
    assert len(quality["lost"]) > 20  # so that some are left out
    assert sorted(map(int, found["samples"])) == sorted(numbers)
    for number in numbers:
        assert base64.b64decode(found["samples"][str(number)]["image"]) == png(PIXELS[number])
    assert project.published() == published
    with nothing_runs():  # it is cached, and the report's question is the same
        assert compared(project, "good", "bad", "--samples")["samples"] == found["samples"]
        assert page(project, "compare", "good", "bad", "--format", "html")["samples"] == found["samples"]
        (bad,) = [t for t in page(project, "report", "bad")["targets"] if t["name"] == "bad"]
        assert "pictures: '--format html'" in project("compare", "good", "bad", "--samples").out
    rows = bad["flipped"]["rows"]
    assert [row["sample"] for row in rows] == numbers
    assert [row["way"] for row in rows[:20]] == ["lost"] * 20
    assert all(row["image"] == found["samples"][str(row["sample"])]["image"] for row in rows)
    assert all((row["first"] == row["label"]) is (row["way"] == "lost") for row in rows)
    assert bad["flipped"]["counts"] == {"lost": len(quality["lost"]), "won": len(quality["won"])}


def test_text_of_a_loader(project: Inline) -> None:
    out = project("compare", "words", "badwords", "--samples").out
    assert "\x1b" not in out  # nothing of a dataset reaches the terminal
    number = compared(project, "words", "badwords")["quality"]["lost"][0]
    assert f"  {number}: <img src=x onerror=alert({number})> [31m number {number}\n" in out
    (words,) = [t for t in page(project, "report", "badwords")["targets"] if t["name"] == "badwords"]
    assert words["flipped"]["rows"][0]["text"].endswith(f"number {number}")


def test_a_preview_that_fails(project: Inline) -> None:
    out = project("compare", "lost", "badlost", "--samples").out
    assert "samples: badlost/samples: " in out
    assert "no picture today" in out
    document = json.loads(project("report", "badlost", "--samples", "--format", "json").out)
    assert "no picture today" in document["targets"][0]["flipped"]["said"]


def test_samples_and_operators_are_of_targets(project: Inline) -> None:
    ran = project("compare", "--from-logs", "a.jsonl", "b.jsonl", "--samples", code=2)
    assert "--samples is for two targets" in ran.err
    ran = project("compare", "--from-logs", "a.jsonl", "b.jsonl", "--operators", code=2)
    assert "--operators is for two targets" in ran.err


def test_operators(project: Inline) -> None:
    why = "operators: 'good' was not profiled: 'cbuild profile good' measures it; 'bad' was not profiled"
    assert why in project("compare", "good", "bad", "--operators").out
    project("profile", "good")
    assert "operators: 'bad' was not profiled" in project("compare", "good", "bad", "--operators").out
    project("profile", "bad")
    with nothing_runs():
        lines = project("compare", "good", "bad", "--operators").out.splitlines()
        shown = page(project, "compare", "good", "bad", "--format", "html")["operators"]
        (bad,) = [t for t in page(project, "report", "bad")["targets"] if t["name"] == "bad"]
        known = compared(project, "good", "bad", "--operators")["operators"]
    at = next(i for i, line in enumerate(lines) if line.startswith("operators: good "))
    assert lines[at].endswith("batch 1; only in good: 0, only in bad: 0")
    assert lines[-2].startswith("of no module")
    assert shown == known == bad["operators"]
    assert {pair["first"]["op"] for layer in shown["layers"] for pair in layer["operators"]} >= {"Flatten", "MatMul"}


def test_answers_that_are_not_those_of_what_is_published(project: Inline, tmp_path: Path) -> None:
    """The report counts the samples by what was published, and then must not show what another model answered."""
    work = Inline(project.copy(tmp_path / "copy").root)
    models.save(linear(np.random.default_rng(5).standard_normal((64, 3)).astype(np.float32)), work.root / "worse")
    work("compare", "good", "bad", "--measure")  # which publishes nothing
    (bad,) = json.loads(work("report", "bad", "--format", "json").out)["targets"]
    assert bad["metrics"]["top1"]["paired"]["lost"]["count"] > 20
    assert bad["flipped"] is None
