"""What a search over recipes tries, and that the file of all candidates plans; the machine's facts are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from compressbuild.compressfile.load import loads
from compressbuild.environment import wanted
from compressbuild.errors import UsageError
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts, probe
from compressbuild.registry import discover
from compressbuild.starter.candidates import Candidate, Runtime, candidates, runtimes
from compressbuild.starter.data import Data
from compressbuild.starter.inspection import Found
from compressbuild.starter.measures import measures
from compressbuild.starter.model import Given
from compressbuild.starter.recipes import recipes
from compressbuild.starter.writing import Plan, text_of_search

REGISTRY = discover()
KNOWN = recipes(REGISTRY)
ORT = Runtime("onnxruntime", {"backend": "onnxruntime", "threads": 1}, ("onnx",))
OPENVINO = Runtime("openvino", {"backend": "openvino", "threads": 1}, ("onnx", "openvino-ir"))
INDUCTOR = Runtime("torch-inductor", {"backend": "torch-inductor", "threads": 1}, ("torch-model",))


def found(kind: str = "onnx", family: str = "cnn", goal: str = "latency", among: Any = (ORT, OPENVINO, INDUCTOR),
          **rest: Any) -> list[Candidate]:  # fmt: skip
    return candidates(
        REGISTRY, KNOWN, among, family=family, goal=goal, kind=kind, operators={"LSTM", "Conv", "Embedding"}, **rest
    )


def test_the_baseline_then_floats_then_recipes() -> None:
    names = [each.name for each in found()]
    assert names == ["fp32", "fp32-openvino", "openvino-int8", "static-int8"], "torch's runtime takes no ONNX"


@pytest.mark.parametrize("family", ["cnn", "transformer-encoder", "rnn", "mlp", "mix"])
@pytest.mark.parametrize("goal", ["size", "latency", "balanced"])
def test_every_recipe_that_suits_a_runtime_is_tried_on_it(family: str, goal: str) -> None:
    """The oracle reads the recipes' own fields. With copies of one there are more than ``init`` would write."""
    (model,) = (recipe for recipe in KNOWN.values() if recipe.name == "fewer-heads")
    copies = {f"copy-{n}": replace(model, name=f"copy-{n}", families=(), goals=()) for n in range(4)}
    known = {**KNOWN, **copies}
    made = candidates(
        REGISTRY, known, (ORT, OPENVINO, INDUCTOR),
        family=family, goal=goal, kind="torch-model", operators={"LSTM", "Conv", "Embedding"},
    )  # fmt: skip
    for runtime in (ORT, OPENVINO, INDUCTOR):
        own = {each.recipe.name for each in made if each.recipe is not None and each.runtime is runtime}
        assert own == {
            recipe.name
            for recipe in known.values()
            if recipe.role == "compress"
            and runtime.name in recipe.runtimes
            and (not recipe.families or family in recipe.families)
            and (not recipe.goals or goal in recipe.goals)
        }
    assert len({each.name for each in made}) == len(made)
    assert [each.runtime for each in made if each.recipe is None] == [ORT, OPENVINO, INDUCTOR]


def test_it_starts_from_what_the_recipe_and_the_runtime_take() -> None:
    made = {each.name: each for each in found("torch-model")}
    assert made["fp32"].export is not None
    assert made["fp32-torch-inductor"].export is None
    assert made["static-int8"].export is not None
    assert made["slim"].export is None
    assert made["slim"].steps[-1] == "export.onnx"
    assert made["slim-torch-inductor"].steps[-1] != "export.onnx"


def test_named_recipes_alone() -> None:
    assert [each.name for each in found(named=["static-int8"])] == ["fp32", "fp32-openvino", "static-int8"]
    assert found("text") == []


def test_a_runtime_with_an_environment_of_its_own_is_tried_if_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wanted, "find_uv", lambda: "/usr/bin/uv")
    assert REGISTRY.backends["litert"].stack.environment is not None
    assert "litert" not in {each.name for each in runtimes(REGISTRY, probe(), ())}
    assert [each.name for each in runtimes(REGISTRY, probe(), ("litert",))] == ["litert"]
    monkeypatch.setattr(wanted, "find_uv", lambda: None)
    with pytest.raises(UsageError, match="'litert' cannot run on this machine: it needs the Python package uv"):
        runtimes(REGISTRY, probe(), ("litert",))
    assert [each.name for each in runtimes(REGISTRY, probe(), ("onnxruntime",))] == ["onnxruntime"]


def test_a_runtime_is_one_that_can_run_here_and_no_second_format_of_another() -> None:
    names = [each.name for each in runtimes(REGISTRY, probe(), ())]
    assert names[0] == "onnxruntime"
    assert "onnxruntime-ort" not in names
    assert [each.name for each in runtimes(REGISTRY, probe(), ("onnxruntime-ort",))] == ["onnxruntime-ort"]
    with pytest.raises(UsageError, match="no backend is called 'onnxruntme'"):
        runtimes(REGISTRY, probe(), ("onnxruntme",))
    bare = Facts.fixed({})
    with pytest.raises(UsageError, match="'tensorrt' cannot run on this machine"):
        runtimes(REGISTRY, bare, ("tensorrt",))


def plan(kind: str, family: str, data: Data, entered: list[Candidate]) -> Plan:
    entry = {"file": "m.onnx"} if kind == "onnx" else {
        "factory": "nets:cnn", "inputs": {"x": {"shape": ["batch", 1, 8, 8], "dtype": "float32"}}
    }  # fmt: skip
    return Plan(
        given=Given("m", "net", entry, kind),
        found=Found(family, 10, 40, (), frozenset(), None),
        family=family,
        goal="latency",
        recipes=[each.recipe for each in entered if each.recipe is not None],
        data=data,
        platform="onnxruntime",
        settings=ORT.settings,
        consumes=ORT.consumes,
        runs=True,
        measures=measures(REGISTRY, data, {}),
    )


@pytest.mark.parametrize("kind", ["onnx", "torch-model"])
@pytest.mark.parametrize("family", ["cnn", "transformer-encoder", "rnn"])
def test_the_file_plans_and_its_parts_of_the_data_do_not_depend_on_what_is_tried(kind: str, family: str) -> None:
    entered = found(kind, family)
    data = Data({"npz": "d.npz", "labels": "label"}, classes=True)
    known = plan(kind, family, data, entered)
    gates = {each.name: {"top1": {"max-drop": 0.01, "against": "fp32"}} for each in entered[1:]}
    whole = loads(text_of_search(known, entered, gates), Path("Compressfile"), sources=REGISTRY.sources_of)
    graph = build_graph(whole, REGISTRY, probe())
    assert {each.name for each in entered} <= graph.targets.keys()
    assert all(graph.targets[each.name].baseline == "fp32" for each in entered[1:])
    assert all(len(graph.targets[each.name].gates) == 1 for each in entered[1:])
    for one in entered[1:]:
        part = loads(text_of_search(known, [entered[0], one], {}), Path("Compressfile"), sources=REGISTRY.sources_of)
        alone = build_graph(part, REGISTRY, probe())
        wanted = {graph.identities[i] for i in graph.closure(graph.targets[one.name].nodes)}
        assert {alone.identities[i] for i in alone.closure(alone.targets[one.name].nodes)} <= wanted
