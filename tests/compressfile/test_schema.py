from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest

from compressbuild.api import DatasetRef, Meta, Params
from compressbuild.compressfile.load import loads
from compressbuild.compressfile.nodes import plain
from compressbuild.compressfile.problems import Problems
from compressbuild.compressfile.reader import read
from compressbuild.compressfile.schema import schema
from compressbuild.compressfile.text import decode
from compressbuild.errors import CompressfileError
from compressbuild.registry import discover

ROOT = Path(__file__).parent.parent.parent
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.yaml"))

# Wrong in a way that only the whole file, or its text, can tell.
NOT_SHAPE = {
    *("group-cycle", "matrix-body", "matrix-collision", "matrix-name", "matrix-size", "name-shared", "target-cycle"),
    *("target-references", "vars-cycle", "vars-duplicate-key", "vars-growth", "vars-in-text", "vars-syntax"),
    *("vars-unknown", "set-checked", "set-path", "set-value", "yaml-nul-escape"),
}


class Prune(Params):
    """Remove channels."""

    ratio: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    data: DatasetRef | None = None
    layers: list[int] = []


class Run(Params):
    threads: int = 1


class Latency(Params):
    warmup: int


def tree(text: str) -> Any:
    problems = Problems()
    node = read(text, "f", problems)
    problems.check()
    assert node is not None
    return plain(node)


@pytest.fixture(scope="module")
def small() -> Callable[[str], bool]:
    """Whether a text fits the schema of three small plugins."""
    found = schema(
        {"prune": Prune, "export": Params},
        {"ort": Run, "rt": Params},
        {"latency": Latency, "size": Params},
        {"board": "ort"},
    )
    jsonschema.Draft202012Validator.check_schema(found)
    validator = jsonschema.Draft202012Validator(found)
    return lambda text: validator.is_valid(tree(text))


@pytest.fixture(scope="module")
def installed() -> jsonschema.Draft202012Validator:
    registry = discover(cache=None)
    found = schema(
        {name: record.params for name, record in registry.techniques.items()},
        {name: record.settings for name, record in registry.backends.items()},
        {name: record.params for name, record in registry.metrics.items()},
        {name: record.backend for name, record in registry.platforms.items()},
    )
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


GOOD = [
    "version: 1",
    "{version: 1, models: {a: {file: a.onnx}}, vars: {x: [1, {y: null}]}, targets: }",
    "{version: 1, models: {a: {factory: a.b:c, inputs: {x: {shape: [b, 1]}}, weights: w}}}",
    "{version: 1, platforms: {a: {backend: ort, threads: 2, requires: {gpu: true}}, b: {backend: rt}}}",
    "{version: 1, platforms: {a: {like: board}, b: {like: board, threads: 3, requires: {}}, c: {like: '${vars.c}'}}}",
    "{version: 1, platforms: {a: {backend: ort, threads: '${vars.n}'}, b: {backend: '${vars.b}', x: 1}}}",
    "{version: 1, targets: {a: {from: b, steps: [export, prune: {ratio: 0.5}, {prune: null, timeout: 5m, seed: 3}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: '${vars.r}', layers: ['${vars.l}', 1]}, '${s}']}}}",
    "{version: 1, targets: {a: {from: b, steps: '${vars.all}', platform: '${vars.p}', evaluate: false, gates: }}}",
    "{version: 1, targets: {'a-${x}': {matrix: {x: [1, {name: b, k: []}], exclude: [{x: 1}]}, from: b}}}",
    "{version: 1, targets: {a: {from: b, steps: [{'prune.${vars.k}': {z: 1}, memory: 4GiB}]}}}",
    "{version: 1, evaluate: {data: d, metrics: [size, latency: {warmup: 3}], baseline: x}}",
    "{version: 1, targets: {a: {from: b, gates: {x: {max-drop: 0.1, against: b}, y: {min: '${vars.m}'}}}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: {search: [0.1, '${vars.h}'], log: true}}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {layers: {choose: [[1], [2, 3]], value: [1]}}]}}}",
    "{version: 1, groups: {g: [a, 'b*', '${vars.c}']}, env: [A], outside: [../x, /y], python-path: [src]}",
]

BAD = [
    "{}",
    "{version: 2}",
    "{version: 1, target: {}}",
    "{version: 1, models: {a: {}}}",
    "{version: 1, models: {list: {file: a}}}",
    "{version: 1, models: {a: {factory: a.b:c}}}",
    "{version: 1, models: {a: {file: x, weights: y}}}",
    "{version: 1, platforms: {a: {backend: nope}}}",
    "{version: 1, platforms: {a: {like: nope}}}",
    "{version: 1, platforms: {a: {like: board, thread: 2}}}",
    "{version: 1, platforms: {a: {like: board, backend: ort}}}",
    "{version: 1, platforms: {a: {threads: 2}}}",
    "{version: 1, platforms: {a: {backend: ort, thread: 2}}}",
    "{version: 1, platforms: {a: {backend: rt, threads: 2}}}",
    "{version: 1, targets: {a: {steps: [export]}}}",
    "{version: 1, targets: {a: {from: b, steps: [exprot]}}}",
    "{version: 1, targets: {a: {from: b, steps: [{timeout: 5}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: 1.5}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ration: 0.5}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {layers: [x]}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: {search: [0.1]}}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: {choose: []}}]}}}",
    "{version: 1, targets: {a: {from: b, steps: [prune: {ratio: {search: [1, 2], stepp: 1}}]}}}",
    "{version: 1, evaluate: {metrics: [latency: {warmup: {search: [1, 2], value: 1}}]}}",
    "{version: 1, targets: {a: {from: b, timeout: soon}}}",
    "{version: 1, targets: {a: {from: b, gates: {x: {max-drop: 0.1}}}}}",
    "{version: 1, targets: {a: {from: b, gates: {x: {}}}}}",
    "{version: 1, evaluate: {metrics: [latency: {}]}}",
    "{version: 1, evaluate: {metrics: [{latency: {warmup: 1}, size: }]}}",
    "{version: 1, targets: {'a-${x}': {matrix: {x: fp16}, from: b}}}",
]


@pytest.mark.parametrize("text", GOOD)
def test_accepted(small: Callable[[str], bool], text: str) -> None:
    assert small(text)


@pytest.mark.parametrize("text", BAD)
def test_rejected(small: Callable[[str], bool], text: str) -> None:
    assert not small(text)


def test_without_plugins_any_name_will_do() -> None:
    validator = jsonschema.Draft202012Validator(schema({}, {}, {}))
    text = "{version: 1, targets: {a: {from: b, steps: [x, y: {z: 1}]}}, evaluate: {metrics: [m, n: {o: 1}]}}"
    assert validator.is_valid(tree(text))
    assert not validator.is_valid(tree("{version: 1, targets: {a: {from: b, steps: [5]}}}"))


def test_the_example_is_accepted(installed: jsonschema.Draft202012Validator) -> None:
    text = (ROOT / "Compressfile.example").read_text(encoding="utf-8")
    loads(text, Path("Compressfile"))
    assert list(installed.iter_errors(tree(text))) == []


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_golden_files_are_rejected(installed: jsonschema.Draft202012Validator, file: Path) -> None:
    """By the reader, or else by the schema wherever the fault is one of shape."""
    problems = Problems()
    try:
        node = read(decode(file.read_bytes(), "f"), "f", problems)
        problems.check()
    except CompressfileError:
        return
    assert node is None or file.stem in NOT_SHAPE or not installed.is_valid(plain(node))


def test_the_list_of_exceptions_is_short_and_current() -> None:
    assert {file.stem for file in GOLDEN} >= NOT_SHAPE


def test_every_property_is_described() -> None:
    found = schema({}, {}, {})
    assert all(part.get("description") or "$ref" in str(part) for part in found["properties"].values())


def test_every_parameter_is_described(installed: jsonschema.Draft202012Validator) -> None:
    """Where an editor shows it: beside the name, not within the alternatives of its value."""
    params = {name: part for name, part in installed.schema["$defs"].items() if name.startswith("params.")}
    found = {(name, key): value for name, part in params.items() for key, value in part.get("properties", {}).items()}
    assert len(found) > 300
    assert [key for key, value in found.items() if not value.get("description")] == []
    assert found["params.PruneNm", "m"]["description"] == "neighbours along the input axis that form a group"
    assert params["params.PruneNm"]["description"].startswith("Zero all but")
