"""``cbuild compare --measure`` on two real models: their latency measured alternately, and nothing published."""

from __future__ import annotations

import json
from pathlib import Path

import onnx_models as models
import pytest
from command import Inline

TEXT = """\
version: 1
models: {net: {file: net/model.onnx}, big: {file: big/model.onnx}}
platforms: {cpu: {backend: onnxruntime}}
evaluate: {metrics: [size, {latency: {seconds: 0.05, warmup: 1}}]}
targets:
  small: {from: net, platform: cpu}
  large: {from: big, platform: cpu}
"""


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = Inline(tmp_path / "p")
    models.save(models.cnn(), made.root / "net")
    models.save(models.cnn(blocks=6, channels=48), made.root / "big")
    made.write("Compressfile", TEXT)
    return made


def test_it_measures_in_turns_and_publishes_nothing(work: Inline) -> None:
    found = json.loads(work("compare", "large", "small", "--measure", "--json").out)
    assert not (work.root / "build").exists()
    assert found["speed"]["how"].startswith("alternately")
    assert found["speed"]["low"] <= found["speed"]["ratio"] <= found["speed"]["high"] < 1
    assert (found["speed"]["verdict"], found["quality"]) == ("faster", None)
    again = work("compare", "large", "small")
    assert again.out.startswith("small against large: faster, smaller"), "it is remembered"
    page = work("compare", "large", "small", "--format", "html")
    assert page.out.startswith("wrote compare.html (")
    assert "small against large: faster, smaller" in (work.root / "compare.html").read_text()
