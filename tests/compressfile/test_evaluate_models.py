"""``evaluate`` of a file with several models: what differs for the targets of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.compressfile.spec import Spec
from compressbuild.errors import CompressfileError

TEXT = """\
models: {one: {file: a.onnx}, two: {file: b.onnx}, three: {file: c.onnx}}
datasets: {x: {loader: "m:x"}, y: {loader: "m:y"}}
evaluate:
  data: x
  metrics: [top1, size]
  threads: 2
  models:
    two: {data: y, baseline: two-base}
    three: {metrics: [size]}
targets:
  one-a: {from: one}
  two-base: {from: two}
  two-b: {from: two-a}
  two-a: {from: two-base, evaluate: {metrics: [latency]}}
  two-off: {from: two, evaluate: false}
  three-${n}: {matrix: {n: [1, 2]}, from: three, evaluate: {seed: 7}}
  mixed-${m}: {matrix: {m: [one, two]}, from: "${m}", evaluate: {metrics: [size]}}
"""


def measured(loaded: Spec, name: str) -> tuple[str | None, str | None, list[str], int | None]:
    found = loaded.targets[name].evaluate or loaded.evaluate
    assert found is not None
    return found.data, found.baseline, [use.name for use in found.metrics], found.options.threads


def spec(text: str) -> Spec:
    return loads("version: 1\n" + text, Path("Compressfile"))


def test_each_model_has_its_own() -> None:
    loaded = spec(TEXT)
    assert measured(loaded, "one-a") == ("x", None, ["top1", "size"], 2)
    assert measured(loaded, "two-base") == ("y", "two-base", ["top1", "size"], 2)
    assert measured(loaded, "two-b") == ("y", "two-base", ["top1", "size"], 2)
    assert measured(loaded, "two-a") == ("y", "two-base", ["latency"], 2)
    assert measured(loaded, "two-off") == (None, None, [], None)
    assert measured(loaded, "three-2") == ("x", None, ["size"], 2)
    assert measured(loaded, "mixed-one")[:2] == ("x", None)
    assert measured(loaded, "mixed-two")[:2] == ("y", "two-base")


def test_what_is_wrong_is_said() -> None:
    text = TEXT.replace("    two: {data: y", "    tow: {dat: y").replace("one-a: {from: one", "one-a: {from: one-a")
    with pytest.raises(CompressfileError) as caught:
        spec(text)
    said = [(each.message, each.hint) for each in caught.value.diagnostics]
    assert ("unknown model 'tow'", "did you mean 'two'?") in said
    assert ("unknown key 'dat' in 'evaluate'", "did you mean 'data'?") in said
    with pytest.raises(CompressfileError, match="unknown key 'models' in 'evaluate'"):
        spec(TEXT.replace("evaluate: {metrics: [latency]}", "evaluate: {models: {}}"))
