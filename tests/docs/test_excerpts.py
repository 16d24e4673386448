"""What ``cbuild help`` shows as an excerpt is a part of a Compressfile that works: every name in it is known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest
from pages import ROOT, with_example
from test_pages import anchors
from test_techniques import registry

from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts, check, probe
from compressbuild.registry.destinations import destination_of
from compressbuild.registry.pages import excerpt, page

# By parameters of metrics.
NAMED = "".join(f"  {name}: {{from: onnx, evaluate: false}}\n" for name in ("ids", "questions", "chat"))
CHANGED = "  changed: {from: onnx, steps: [convert.fp16]}\n"  # for what compares it with what it was made from
TARGETS = (
    f"targets:\n  measured: {{from: onnx, platform: cpu}}\n  cpu-fp32: {{from: onnx, platform: cpu}}\n{CHANGED}{NAMED}"
)


def first_party(what: str) -> list[str]:
    known = registry()
    named = {"backend": known.backends, "metric": known.metrics, "destination": known.destinations}[what]
    return sorted(name for name in named if known.owner[what, name] not in ("toy", "reference"))


def nodes(text: str, place: Path) -> set[str]:
    spec = loads(text, place / "Compressfile", sources=registry().sources_of)
    graph = build_graph(spec, registry(), Facts.fixed({}))
    return {node.name for node in graph.nodes}


@pytest.mark.parametrize("name", first_party("backend"))
def test_of_a_backend(name: str, tmp_path: Path) -> None:
    platforms, _, targets = excerpt(registry(), "backend", registry().backends[name]).partition("targets:\n")
    assert f"backend: {name}" in platforms
    whole = with_example(f"targets:\n{targets}")
    if "hf-model" in registry().backends[name].consumes:
        whole, count = re.subn(r"(?m)^  chat: \{factory:.*$", "  chat: {llm: models/chat}", whole)
        assert count == 1
    assert whole.count("\nplatforms:\n") == 1
    assert name in nodes(whole.replace("\nplatforms:\n", f"\n{platforms}"), tmp_path)


@pytest.mark.parametrize("name", first_party("metric"))
def test_of_a_metric(name: str, tmp_path: Path) -> None:
    text = excerpt(registry(), "metric", registry().metrics[name])
    assert name in text
    whole = with_example(TARGETS)
    assert whole.count("\nevaluate: {data: test}\n") == 1
    if name == "openvino-layer-error":  # of its own models alone
        whole += "  intel-int8: {from: onnx, steps: [openvino.quantize: {data: calibration}]}\n"
    assert name in nodes(whole.replace("\nevaluate: {data: test}\n", f"\n{text}"), tmp_path)


@pytest.mark.parametrize("name", first_party("destination"))
def test_of_a_destination(name: str, tmp_path: Path) -> None:
    text = excerpt(registry(), "destination", registry().destinations[name])
    spec = loads(f"{with_example(TARGETS)}\n{text}", tmp_path / "Compressfile")
    assert [destination_of(registry(), entry.to).name for entry in spec.publish.values()] == [name]
    build_graph(spec, registry(), Facts.fixed({}))  # with the options


def test_every_file_is_of_a_record_of_its_plugin() -> None:
    known = registry()
    owners = {(name, known.owner[what, name]) for what, name in known.owner}
    files = {
        (file.stem.removeprefix("source."), file.parents[1].name.removeprefix("cbuild_").replace("_", "-"))
        for file in (ROOT / "plugins").glob("*/excerpts/*")
    }
    assert len(files) > 40
    assert files <= owners


def test_the_page_of_each_record_is_there() -> None:
    known = registry()
    for what, name in known.owner:
        file, _, anchor = page(known, what, name).partition("#")
        assert bool(file) == (what in ("technique", "backend", "metric", "source", "destination", "check", "executor"))
        assert not anchor or anchor in anchors(ROOT / file), name
        assert not file or (ROOT / file).is_file(), name


@pytest.mark.slow
def test_those_of_the_backends_build(tmp_path: Path) -> None:
    """On a smaller network, trained for less; a target of a backend that cannot compile here is skipped."""
    known, facts = registry(), probe()
    copytree(ROOT / "examples", tmp_path / "examples", ignore=lambda *_: ["__pycache__"])
    pairs = {
        name: excerpt(known, "backend", known.backends[name]).removeprefix("platforms:\n").split("targets:\n")
        for name in first_party("backend")
        if "hf-model" not in known.backends[name].consumes  # the example has no language model
    }
    platforms, targets = ("".join(parts) for parts in zip(*pairs.values(), strict=True))
    text = with_example(f"targets:\n{targets}").replace("\nplatforms:\n", f"\nplatforms:\n{platforms}")
    (tmp_path / "Compressfile").write_text(text)
    command = [sys.executable, "-m", "compressbuild", "all", "--json", "--set", "vars.epochs=1"]
    command += ["--set", "models.net.args.width=16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f"{e['node']}: {e['error']}" for e in events if e.get("status") == "failed" and "error" in e] == []
    assert done.returncode == 0, done.stderr
    published = {e["target"] for e in events if e["event"] == "target-finished" and e["status"] == "published"}
    backends = [known.backends[name] for name in pairs]
    here = [b.name for b in backends if not check(b.stack.needs, facts) and not check(b.compile_needs, facts)]
    assert "onnxruntime" in here
    for name in here:
        assert set(re.findall(r"(?m)^  ([\w-]+):", pairs[name][1])) <= published, name
