"""Each technique has a page, which names every parameter with its default, and an excerpt that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from pages import ROOT, blocks, strangers, tables, with_example

from compressbuild.api import Technique
from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import Registry, discover

PLACE = ROOT / "docs" / "techniques"
FIRST_PARTY = {"litert", "llm", "metrics", "onnx", "onnxruntime", "openvino", "tensorrt", "torch"}


@cache
def registry() -> Registry:
    return discover(cache=None)


def techniques() -> list[Technique]:
    known = registry()
    return [t for name, t in sorted(known.techniques.items()) if known.owner["technique", name] in FIRST_PARTY]


def written(value: Any) -> Any:
    """A default as the pages write it; lists and structures are for words."""
    if value is None or value in ((), [], {}):
        return "none"
    if not isinstance(value, bool | int | float | str):
        return ANY
    return f"`{msgspec.json.encode(value).decode()}`".replace('"', "") if value != " " else '`" "`'


def default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return written(field.default_factory())
    return "required" if field.default is msgspec.NODEFAULT else written(field.default)


@pytest.mark.parametrize("technique", techniques(), ids=lambda t: t.name)
def test_it_has_a_page_with_every_parameter(technique: Technique) -> None:
    page = PLACE / f"{technique.name}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}: what, when, parameters, cost, source, an excerpt"
    text = page.read_text()
    assert text.startswith(f"# {technique.name}\n")
    rows = [row for table in tables(text) if table[0][0] == "parameter" for row in table[1:]]
    said = {row[0].strip("`"): row[2] for row in rows}
    assert all(row[3] for row in rows)
    params = {f.encode_name: default(f) for f in msgspec.structs.fields(technique.params)}
    assert {name: _number(said.get(name)) for name in params} == {n: _number(value) for n, value in params.items()}
    assert "**Cost.**" in text
    assert "**Source" in text or technique.name == "metrics.predict"


def _number(text: Any) -> Any:
    """``1e-3`` is as good as ``0.001``."""
    return float(text.strip("`")) if isinstance(text, str) and re.fullmatch(r"`-?[\d.]+(e-?\d+)?`", text) else text


@pytest.mark.parametrize("technique", techniques(), ids=lambda t: t.name)
def test_it_is_in_the_index(technique: Technique) -> None:
    assert f"[`{technique.name}`]({technique.name}.md)" in (PLACE / "README.md").read_text()


def test_no_page_is_of_something_else() -> None:
    names = {t.name for t in techniques()}
    assert {page.stem for page in PLACE.glob("*.md")} - {"README"} <= names


def excerpts() -> list[tuple[str, str]]:
    return [
        (page.stem, block.text)
        for page in sorted(PLACE.glob("*.md"))
        for block in blocks(page, "yaml")
        if block.text.startswith(("targets:", "version:"))
    ]


@pytest.mark.parametrize(("name", "text"), excerpts(), ids=[name for name, _ in excerpts()])
def test_its_excerpt_resolves(name: str, text: str, tmp_path: Path) -> None:
    """``targets:`` stand on the example's digits, slim and onnx; what does not is written as a whole Compressfile."""
    assert f"{name}:" in text or f"[{name}]" in text
    whole = text if text.startswith("version:") else with_example(text)
    spec = loads(whole, tmp_path / "Compressfile", sources=registry().sources_of)
    graph = build_graph(spec, registry(), Facts.fixed({}))
    assert name in {node.name for node in graph.nodes}


def test_every_page_of_what_users_write_has_an_excerpt() -> None:
    behind_metrics = {t.name for t in techniques() if t.name.startswith("metrics.")}
    assert {t.name for t in techniques()} - {name for name, _ in excerpts()} == behind_metrics


@pytest.mark.slow
def test_the_excerpts_build(tmp_path: Path) -> None:
    """All that need no more than the example, as targets of one Compressfile, on a smaller network trained for less."""
    copytree(ROOT / "examples", tmp_path / "examples", ignore=lambda *_: ["__pycache__"])
    bodies = []
    texts = [text for _, text in excerpts() if text.startswith("targets:") and not strangers(text)]
    for number, text in enumerate(texts):
        body = text.removeprefix("targets:\n")
        bodies.append(re.sub(r"(?m)^  (?=[\w.-]+:)", f"  page{number}-", body))
    (tmp_path / "Compressfile").write_text(with_example("targets:\n" + "".join(bodies)))
    command = [sys.executable, "-m", "compressbuild", "all", "--json", "--set", "vars.epochs=1"]
    command += ["--set", "models.net.args.width=16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [f"{e['node']}: {e['error']}" for e in events if e.get("status") == "failed" and "error" in e]
    assert failed == [], done.stderr
    assert done.returncode == 0, done.stderr
    published = {e["target"] for e in events if e["event"] == "target-finished" and e["status"] == "published"}
    assert len(published) >= len(texts)
