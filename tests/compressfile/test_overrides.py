from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compressbuild.compressfile.load import loads
from compressbuild.compressfile.nodes import plain
from compressbuild.compressfile.spec import Spec
from compressbuild.errors import CompressfileError

TEXT = """\
vars: {ratio: 0.5, list: [1, 2]}
targets:
  slim:
    from: net
    steps:
      - prune.channels: {ratio: "${vars.ratio}"}
      - export.onnx
      - quantize.static:
  v1.5: {from: slim}
  sweep-${x}:
    matrix: {x: [a, b]}
    from: slim
    steps: [{p: {value: 1}}]
evaluate: {data: test, metrics: [top1, latency]}
"""


def steps(spec: Spec, target: str) -> list[tuple[str, Any]]:
    return [(step.technique, plain(step.params) if step.params else {}) for step in spec.targets[target].steps]


def test_a_variable_reaches_every_use(spec: Callable[..., Spec]) -> None:
    assert steps(spec(TEXT, "vars.ratio=0.3"), "slim")[0] == ("prune.channels", {"ratio": 0.3})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[
            ("2", 2),
            ("1e-3", 0.001),
            ("true", True),
            ("null", None),
            ("a b", "a b"),
            ("'2'", "2"),
            ("[1, x]", [1, "x"]),
        ],
        *[("{a: {b: 1}}", {"a": {"b": 1}}), ("a=b", "a=b"), (" 5 ", 5), ("''", ""), ("10m", "10m")],
    ],
)
def test_values(spec: Callable[..., Spec], value: str, expected: object) -> None:
    assert steps(spec(TEXT, f"vars.ratio={value}"), "slim")[0][1] == {"ratio": expected}


def test_keys_with_dots(spec: Callable[..., Spec]) -> None:
    loaded = spec(TEXT, "targets.slim.steps.0.prune.channels.ratio=0.1", "targets.v1.5.platform=cpu")
    assert steps(loaded, "slim")[0] == ("prune.channels", {"ratio": 0.1})
    assert loaded.targets["v1.5"].platform == "cpu"


def test_new_parameters(spec: Callable[..., Spec]) -> None:
    """Of a step with parameters, of a bare one, and of one with nothing after its colon."""
    loaded = spec(
        TEXT,
        "targets.slim.steps.0.prune.channels.data=calib",
        "targets.slim.steps.1.export.onnx.opset=18",
        "targets.slim.steps.2.quantize.static.method=entropy",
    )
    assert steps(loaded, "slim") == [
        ("prune.channels", {"ratio": 0.5, "data": "calib"}),
        ("export.onnx", {"opset": 18}),
        ("quantize.static", {"method": "entropy"}),
    ]


def test_new_options_of_a_bare_step(spec: Callable[..., Spec]) -> None:
    loaded = spec(TEXT, "targets.slim.steps.1.timeout=5m")
    assert (loaded.targets["slim"].steps[1].technique, loaded.targets["slim"].steps[1].options.timeout) == (
        "export.onnx",
        300,
    )


def test_a_metric_gets_parameters(spec: Callable[..., Spec]) -> None:
    loaded = spec(TEXT, "evaluate.metrics.1.latency.warmup=5")
    assert loaded.evaluate is not None
    assert [(use.name, plain(use.params) if use.params else {}) for use in loaded.evaluate.metrics] == [
        ("top1", {}),
        ("latency", {"warmup": 5}),
    ]


def test_whole_sections_and_new_top_keys(spec: Callable[..., Spec]) -> None:
    loaded = spec(TEXT, "cache=/tmp/c", "defaults.threads=2", "vars.list=[3]", "env=[HOME]")
    assert (loaded.cache, loaded.defaults.threads, loaded.env) == ("/tmp/c", 2, ("HOME",))


def test_a_matrix_is_set_before_it_is_expanded(spec: Callable[..., Spec]) -> None:
    loaded = spec(TEXT, "targets.sweep-${x}.matrix.x=[c]", "targets.sweep-${x}.steps.0.p.value=${x}")
    assert [name for name in loaded.targets if name.startswith("sweep")] == ["sweep-c"]
    assert steps(loaded, "sweep-c") == [("p", {"value": "c"})]


def test_the_last_one_wins(spec: Callable[..., Spec]) -> None:
    assert steps(spec(TEXT, "vars.ratio=1", "vars.ratio=2"), "slim")[0][1] == {"ratio": 2}


def test_marks_point_into_the_argument(spec: Callable[..., Spec]) -> None:
    with pytest.raises(CompressfileError) as caught:
        spec(TEXT, "vars.list=[a]", "targets.slim.platform=cpv")
    (found,) = caught.value.diagnostics
    assert (str(found.mark), found.hint) == ("--set targets.slim.platform:1:23", "did you mean 'cpu'?")
    assert caught.value.texts["--set targets.slim.platform"] == "targets.slim.platform=cpv"


def test_a_text_with_a_setting_of_the_same_path_twice() -> None:
    loaded = loads("version: 1\nvars: {a: 1}\n", Path("Compressfile"), ["vars.a=2", "vars.a=3"])
    assert loaded.texts["--set vars.a (2)"] == "vars.a=3"


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "=",
        "a",
        "a=",
        "vars",
        "vars=",
        "vars.=1",
        "..=1",
        "vars.ratio=\t1",
        "vars.ratio=\udc80",
        "vars.ratio=a\nb: c",
    ],
)
def test_nonsense_is_one_located_error(spec: Callable[..., Spec], argument: str) -> None:
    with pytest.raises(CompressfileError) as caught:
        spec(TEXT, argument)
    assert all(found.mark is not None and found.mark.file.startswith("--set") for found in caught.value.diagnostics)
