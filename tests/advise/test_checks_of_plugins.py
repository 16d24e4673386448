"""A plugin's own check is the equal of first-party ones, and its techniques are advised on as theirs are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from command import TOY_PATH, Ran, Work

from compressbuild.advise import advise
from compressbuild.api.advice import Advice, Mark, Seen, Step
from compressbuild.registry import discover

MANIFEST = """\
from compressbuild.api import Check, Params, Technique, hookimpl


class Thin(Params):
    \"\"\"Keep the first letter.\"\"\"

    ratio: float = 0.5


@hookimpl
def compressbuild_techniques():
    yield Technique(name="third.thin", params=Thin, run="cbuild_third.work:thin", traits=("prunes", "third.odd"))


@hookimpl
def compressbuild_checks():
    yield Check(name="odd-ratio", run="cbuild_third.advice:odd_ratio", reference="docs/odd.md", priority=7)
"""
WORK = """\
def thin(ctx, model, params):
    (ctx.out / "value").write_text(next(model.iterdir()).read_text()[:1])
    return {"thinned": True}
"""
ADVICE = """\
from compressbuild.api.advice import Advice, Edit


def odd_ratio(seen):
    for step in seen.steps:
        if step.has("third.odd") and step.params["ratio"] > 0.6:
            evidence = (f"ratio {step.params['ratio']:g}", f"length {seen.metrics.get('length', {}).get('value')}",
                        f"facts {dict(step.facts)}")
            edit = Edit("set", step.mark, "ratio", "0.5")
            yield Advice(what="the ratio is odd: take half", mark=step.mark, evidence=evidence, edit=edit)
"""
COMPRESSFILE = """\
version: 1
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  a: {from: f, steps: [third.thin: {ratio: 0.75}]}   # a comment
  b: {from: f, steps: [third.thin: {ratio: 0.25}]}
"""


class Third(Work):
    """A project beside an installed plugin of somebody else's."""

    def __init__(self, place: Path, advice: str = ADVICE) -> None:
        self.site = place / "site"
        package, info = self.site / "cbuild_third", self.site / "cbuild_third-1.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        for name, text in (("__init__", ""), ("manifest", MANIFEST), ("work", WORK), ("advice", advice)):
            (package / f"{name}.py").write_text(text)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cbuild-third\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[compressbuild]\nthird = cbuild_third.manifest\n")
        super().__init__(place / "project", toy=True)
        self.write("f.txt", "abcdef")
        self.write("Compressfile", COMPRESSFILE)

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        path = os.pathsep.join([str(self.site), TOY_PATH])
        return super().__call__(*args, code=code, timeout=timeout, PYTHONPATH=path, **env)


def test_it_advises_with_evidence_a_patch_and_its_reference(tmp_path: Path) -> None:
    work = Third(tmp_path)
    work("all")
    (row,) = json.loads(work("advise", "--json").out)["advice"]
    assert (row["check"], row["target"], row["where"]) == ("odd-ratio", "a", "Compressfile:5:24")
    assert row["evidence"] == ["ratio 0.75", "length 1", "facts {'thinned': True}"]
    assert row["reference"] == "docs/odd.md"
    assert "1 change made" in work("advise", "--apply").out
    assert "{ratio: 0.5}]}   # a comment" in (work.root / "Compressfile").read_text()
    assert work("advise").out.startswith("nothing to advise on 2 targets\n")
    assert "checks      odd-ratio" in work("plugins").out
    assert "odd-ratio: check of third" in work("help", "odd-ratio").out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    raise ValueError('odd')", "ValueError: odd"),
        ("    yield 'take half'", "TypeError: it gave a str, not Advice"),
        (
            "    yield Advice(what=3, mark=seen.steps[0].mark)",
            "TypeError: its advice is not well-formed: Expected `str`, got `int`",
        ),
        ("    import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ],
)
def test_a_broken_check_is_named_and_costs_only_itself(tmp_path: Path, body: str, said: str) -> None:
    work = Third(tmp_path, f"from compressbuild.api.advice import Advice\n\n\ndef odd_ratio(seen):\n{body}\n")
    ran = work("advise", code=1)
    assert f"error: check 'odd-ratio' of plugin 'third' failed: {said}" in ran.err
    assert ran.err.count("odd-ratio") == 1, "once for all targets"
    assert "Traceback" not in ran.err
    assert ran.out.startswith("nothing to advise on 2 targets\n")


def test_a_technique_of_somebody_else_is_advised_on_as_first_party_ones_are() -> None:
    registry = discover(cache=None)

    def said(traits: Iterable[str], **more: object) -> list[str]:
        step = Step(node=1, technique="third.thin", mark=Mark("f", 1, 1), traits=tuple(traits), **more)  # type: ignore[arg-type]
        seen = Seen(
            target="t", steps=(step,), quality="q", value=0.5, best=("b", 0.9), allowed=0.01,
            speed="s", ratios=(1.1, 1.05, 1.2), baseline="b", same_model=True, recipe="data: train",
        )  # fmt: skip
        found: tuple[Advice, ...] = advise([seen], registry.checks).advice
        return [each.check for each in found]

    assert said(["prunes"], params={"ratio": 0.5}) == ["too-much-at-once"]
    assert said(["prunes", "trains"], params={"ratio": 0.5}) == []
    assert said(["zeros"], params={"sparsity": 0.5}) == ["zeros-not-faster"]
    assert said(["int8"]) == ["int8-not-faster"]
    assert said(["weights-only"]) == ["weights-slower"]
    assert said(["calibrates"], params={"samples": 8}) == ["few-samples"]
    assert said(["third.own"]) == []


def test_a_trait_that_is_misspelt_is_a_warning(tmp_path: Path) -> None:
    work = Third(tmp_path)
    manifest = work.site / "cbuild_third" / "manifest.py"
    manifest.write_text(manifest.read_text().replace('"prunes"', '"prune"'))
    assert "warning: technique 'third.thin' has the trait 'prune': did you mean 'prunes'?" in work("plugins").out
