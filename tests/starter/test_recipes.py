"""The recipes of the first-party plugins, and what is said of damaged ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from command import Inline, Work

from compressbuild.errors import CbuildError
from compressbuild.registry import discover
from compressbuild.starter.choices import FAMILIES
from compressbuild.starter.recipes import Recipe, exporting, recipes, suitable

REGISTRY = discover()
KNOWN = recipes(REGISTRY)


def test_every_family_has_two_for_the_usual_runtimes_but_one() -> None:
    for runtime in ("onnxruntime", "openvino"):
        for family in FAMILIES:
            found = {
                recipe.name
                for goal in ("size", "latency", "balanced")
                for recipe in suitable(KNOWN.values(), REGISTRY, family, runtime, goal, "torch-model", {"LSTM"})
            }
            # NNCF compresses no weights of recurrent layers: for OpenVINO an RNN has fewer units, and no more.
            assert len(found) >= 2 or (family, runtime, found) == ("rnn", "openvino", {"slim-recurrent"})


@pytest.mark.parametrize("recipe", KNOWN.values(), ids=list(KNOWN))
def test_its_names_exist_and_its_kinds_fit(recipe: Recipe) -> None:
    registry = discover()
    kind = recipe.takes
    for name in recipe.techniques:
        technique = registry.techniques[name]
        assert not technique.consumes or kind in technique.consumes, name
        kind = technique.produces or kind
    for runtime in recipe.runtimes:
        consumes = registry.backends[runtime].consumes
        assert kind in consumes or exporting(KNOWN.values(), REGISTRY, kind, consumes), runtime
    named = {value for step in recipe.steps if isinstance(step, dict) for params in step.values()
             for key, value in (params or {}).items() if key == "data"}  # fmt: skip
    assert named == {*recipe.needs, *recipe.wishes}
    assert not set(recipe.needs) & set(recipe.wishes)


def test_a_recipe_is_only_for_what_it_names() -> None:
    def names(family: str = "rnn", runtime: str = "onnxruntime", goal: str = "latency", kind: str = "torch-model",
              layers: tuple[str, ...] = ("LSTM",)) -> list[str]:  # fmt: skip
        return [recipe.name for recipe in suitable(KNOWN.values(), REGISTRY, family, runtime, goal, kind, layers)]

    assert names() == ["dynamic-int8-lstm", "slim-recurrent"]
    assert names(layers=("GRU",)) == ["slim-recurrent"]
    assert names(kind="onnx") == ["dynamic-int8-lstm"]
    assert names(runtime="tensorrt") == ["fp16"]
    assert names(runtime="openvino", goal="size") == ["slim-recurrent"], "NNCF leaves recurrent layers as they are"
    assert names(goal="size") == ["weights-int8-recurrent", "slim-recurrent"]


def test_the_list_and_one_of_it(tmp_path: Path) -> None:
    work = Inline(tmp_path / "bare")
    listed = work("recipes").out
    assert [line.split()[0] for line in listed.splitlines()] == list(KNOWN)
    shown = work("recipes", "static-int8").out
    assert "source    Jacob et al." in shown
    assert "  - quantize.static: {data: calibration}" in shown
    assert "size: ×0.5 of the baseline's at most" in shown
    rows = [msgspec.json.decode(line) for line in work("recipes", "--json").out.splitlines()]
    assert [row["name"] for row in rows] == list(KNOWN)
    assert "did you mean 'static-int8'?" in work("recipes", "static-in8", code=2).err


GOOD = """\
summary: copied
source: nobody
families: [cnn]
runtimes: [onnxruntime]
goals: [size]
takes: onnx
steps: [toy.copy]
"""


def plugin(tmp_path: Path, text: str) -> Work:
    """A plugin with a recipe, on the path of the project's commands."""
    site = tmp_path / "site"
    (site / "cbuild_third" / "recipes").mkdir(parents=True)
    (site / "cbuild_third" / "__init__.py").write_text("")
    (site / "cbuild_third" / "manifest.py").write_text("")
    (site / "cbuild_third" / "recipes" / "third.yaml").write_text(text)
    info = site / "cbuild_third-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cbuild-third\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[compressbuild]\nthird = cbuild_third.manifest\n")
    return Work(tmp_path / "work", toy=True)


def run(work: Work, *words: str, code: int) -> str:
    from command import TOY_PATH

    return work(*words, code=code, PYTHONPATH=f"{work.root.parent / 'site'}:{TOY_PATH}").text


def test_a_plugin_adds_one(tmp_path: Path) -> None:
    work = plugin(tmp_path, GOOD)
    assert "third: recipe of third" in run(work, "recipes", "third", code=0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("families: [cnn]", "families: [cnns]", "Invalid enum value 'cnns'"),
        ("toy.copy", "toy.cpoy", "unknown technique 'toy.cpoy'"),
        ("summary: copied\n", "", "missing required field `summary`"),
        ("source", "sauce", "sauce"),
        ("[onnxruntime]", "[onnxruntime", "third.yaml:5"),
    ],
)
def test_a_damaged_one_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = run(plugin(tmp_path, GOOD.replace(old, new)), "recipes", code=None)  # type: ignore[arg-type]
    assert said in text
    assert "third" in text
    assert "Traceback" not in text


def test_two_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = discover()
    twice = msgspec.structs.replace(registry, plugins=(*registry.plugins, *registry.plugins))
    with pytest.raises(CbuildError, match="both offer a recipe"):
        recipes(twice)
