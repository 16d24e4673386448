"""``cbuild help``: every record, in words that a user can act on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Inline, Work

from compressbuild.cli.help import explained, families
from compressbuild.registry import Registry, discover

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover(cache=None)


def records(registry: Registry) -> list[tuple[str, Any]]:
    known = [(what, record) for what, named in families(registry).items() for record in named.values()]
    return [(what, record) for what, record in known if registry.owner[what, record.name] != "toy"]


def test_a_technique(bare: Work) -> None:
    out = bare("help", "quantize.weights").out
    assert out.startswith("quantize.weights: technique of onnx\n\nWeights alone to 4 or 8 bits")
    assert "takes   onnx\nmakes   onnx\n" in out
    assert "  bits  (4 | 8; default 4)\n      bits of a weight\n" in out
    assert "  samples  (integer ≥ 1; default 128)\n" in out
    assert "  data  (dataset; default none)\n" in out
    assert "excerpt\n  targets:\n" in out
    assert "- quantize.weights" in out
    assert out.endswith("page  docs/techniques/quantize.weights.md\n")


def test_a_backend_with_nested_settings(bare: Work) -> None:
    out = bare("help", "onnxruntime").out
    assert "  optimization  (disabled | basic | extended | all; default all)\n" in out
    assert re.search(
        r"^  parity  \(settings; default as below\)\n.*\n      check  \(true or false; def", out, re.MULTILINE
    )
    assert "  platforms:\n    desktop: {backend: onnxruntime, threads: 4}\n" in out
    assert "two builds may differ: " in bare("help", "onnxruntime-ort").out


def test_a_metric_and_a_kind(bare: Work) -> None:
    out = bare("help", "slices").out
    assert "unit    none; higher is better\nrole    " in out
    assert "metrics: [top1, {slices: {by:" in out
    out = bare("help", "examples").out
    assert "files   examples.json, labels.npy, inputs/*.npy\nmade by metrics.attack-fgsm, metrics.attack-pgd\n" in out


def test_every_record_has_help(registry: Registry) -> None:
    known = records(registry)
    assert len(known) > 80
    for what, record in known:
        name, out = record.name, "\n".join([*explained(registry, what, record), ""])
        assert f"{name}: {what} of " in out
        assert max(map(len, out.splitlines())) <= 130, name
        page = re.search(r"^page  (\S+)$", out, re.MULTILINE)
        assert (page is None) == (what == "kind")
        assert page is None or (ROOT / page[1].partition("#")[0]).is_file()
        assert ("excerpt\n" in out) == (what not in ("kind", "check") and not name.startswith("metrics.")), name


def test_without_a_name_it_lists_all(bare: Work, registry: Registry) -> None:
    lines = [line.split()[0] for line in bare("help").out.splitlines() if line.startswith("  ")]
    assert {record.name for _, record in records(registry)} <= set(lines)
    assert "toy.copy" in lines


def test_a_plugin_without_excerpts_or_pages(bare: Work) -> None:
    out = bare("help", "toy.mix").out
    assert out.startswith("toy.mix: technique of toy\n")
    assert "  others  (list of model; default none)\n" in out
    assert "excerpt" not in out
    assert "page" not in out


def test_another_distribution(tmp_path: Path) -> None:
    """Its page is the one that its metadata names; a name of two records explains both."""
    work = Inline(tmp_path / "work")
    site = tmp_path / "site"
    info = site / "cbuild_other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: cbuild-other\nVersion: 1.0\nProject-URL: Documentation, https://other.example/doc\n"
    )
    (info / "entry_points.txt").write_text("[compressbuild]\nother = cbuild_other.manifest\n")
    (site / "cbuild_other" / "excerpts").mkdir(parents=True)
    (site / "cbuild_other" / "__init__.py").write_text("")
    (site / "cbuild_other" / "excerpts" / "other.copy.yaml").write_text("targets: {a: {steps: [other.copy]}}\n")
    (site / "cbuild_other" / "manifest.py").write_text(
        "from compressbuild.api import Kind, Params, Technique, hookimpl\n\n\n"
        'class Nothing(Params):\n    """Copy."""\n\n\n'
        "@hookimpl\ndef compressbuild_techniques():\n"
        '    yield Technique(name="other.copy", run="cbuild_other.run:copy", params=Nothing, produces="onnx")\n'
        "@hookimpl\ndef compressbuild_kinds():\n"
        '    yield Kind(name="other.copy", files=("*.txt",), summary="a copy")\n'
    )
    out = work("help", "other.copy", PYTHONPATH=f"{site}:{work.environment().get('PYTHONPATH', '')}").out
    assert "excerpt\n  targets: {a: {steps: [other.copy]}}\n" in out
    assert out.endswith("page  https://other.example/doc\n")
    assert "other.copy: kind of other\n\na copy\n" in out


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "prune.chanels",
            "no technique, backend, metric, kind, source, destination, executor or check is called 'prune.chanels'",
            "mean 'prune.channels'?",
        ),
        (
            "Latency",
            "no technique, backend, metric, kind, source, destination, executor or check is called 'Latency'",
            "did you mean 'latency'?",
        ),
        (
            "zzzzzz",
            "no technique, backend, metric, kind, source, destination, executor or check is called 'zzzzzz'",
            "'cbuild help' lists every name",
        ),
        ("rtx-ada", "'rtx-ada' is a platform of backend 'tensorrt-rtx'", "see 'cbuild help tensorrt-rtx'"),
    ],
)
def test_an_unknown_name(bare: Work, name: str, message: str, hint: str) -> None:
    ran = bare("help", name, code=2)
    assert message in ran.err
    assert hint in ran.err


def test_the_name_of_a_command_shows_its_help(bare: Work) -> None:
    assert bare("help", "why").out == bare("why", "--help").out


def test_no_target_may_have_its_name(bare: Work) -> None:
    bare.write("f.txt", "x")
    bare.write("Compressfile", "version: 1\nmodels: {f: {file: f.txt}}\ntargets: {help: {from: f}}\n")
    assert "'help'" in bare("all", code=2).err


def test_it_imports_no_model_library() -> None:
    script = (
        "import sys\nfrom compressbuild.cli.main import main\nmain(['help', 'quantize.qat'])\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'numpy', 'openvino', 'networkx', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
