"""The skill: each command that it shows works, in order, and what it names exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import onnx
import onnx_models as models
import pytest
from command import Inline, Work
from sklearn.datasets import load_digits

from compressbuild.agents.skill import NAME, path
from compressbuild.cli.main import COMMANDS
from compressbuild.compressfile.load import loads
from compressbuild.graph import build_graph
from compressbuild.platforms import Facts
from compressbuild.registry import discover

ROOT = Path(__file__).parents[2]
SKILL = Path(path()).read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = [shlex.split(line, comments=True) for kind, text in FENCE.findall(SKILL) if kind == "sh"
         for line in text.splitlines()]  # fmt: skip
INLINE = [shlex.split(line) for line in re.findall(r"`(cbuild [^`\n]+)`", FENCE.sub("", SKILL))]


def test_it_is_a_skill_as_agents_expect_it() -> None:
    head = re.match(r"---\nname: ([a-z0-9-]+)\ndescription: (.*)\n---\n\n# ", SKILL)
    assert head is not None
    assert head[1] == NAME == Path(path()).parent.name
    assert 100 < len(head[2]) < 1024
    assert ": " not in head[2]  # it would need quotes
    assert len(SKILL.splitlines()) <= 250
    assert (ROOT / "skills" / NAME / "SKILL.md").samefile(path())


@pytest.mark.parametrize("line", [*SHELL, *INLINE], ids=" ".join)
def test_its_commands_and_options_exist(line: list[str]) -> None:
    assert line[0] == "cbuild"
    name = line[1] if line[1] in COMMANDS else "build"
    command: click.Command = import_module(f"compressbuild.cli.{name}").command
    options = {word for each in command.params for word in each.opts}
    assert {word.partition("=")[0] for word in line[1:] if word.startswith("-")} <= options


def test_the_names_that_it_gives_exist() -> None:
    registry = discover(cache=None)
    named = set(re.findall(r"`([a-z]+\.[a-z-]+)\b(?!/)[^`]*`", FENCE.sub("", SKILL))) - {"report.html"}
    assert len(named) > 12
    assert named <= registry.techniques.keys()
    assert {"quantize.llm", "prune.llm-width", "distill.llm", "finetune.llm", "tokenize.text"} <= named
    metrics = set(re.findall(r"`(lm-[a-z-]+|edge-cases)`", SKILL))
    assert len(metrics) > 2
    assert metrics <= registry.metrics.keys()
    assert {"gguf", "onnxruntime-genai", "openvino-genai"} <= registry.backends.keys()
    assert set(re.findall(r"`(distill|finetune)`", SKILL)) <= registry.techniques.keys()
    commands = {words[1] for words in (*SHELL, *INLINE)}
    assert commands <= COMMANDS.keys() | {"-n", "fp32", "static-int8"}, "a command, or a target of the example"
    static = {field.replace("_", "-") for field in registry.techniques["quantize.static"].params.__struct_fields__}
    assert {"smooth", "method", "data"} <= static
    assert all(f"`{word}`" in (ROOT / "docs" / "compressfile.md").read_text() for word in ("max-class-drop",))


def test_its_targets_resolve_on_the_example() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "docs"))
    from pages import with_example

    (text,) = [text for kind, text in FENCE.findall(SKILL) if kind == "yaml"]
    plugins = discover(cache=None)
    spec = loads(with_example(text), Path("Compressfile"), catalogue=lambda: plugins.platforms)
    graph = build_graph(spec, plugins, Facts.fixed({}))
    assert {"slim", "slim-fp32", "slim-int8"} <= graph.targets.keys()


def test_its_commands_work_in_order(tmp_path: Path) -> None:
    """On a CNN and the digits. Latency is left out, and the search gets something to choose."""
    work = Inline(tmp_path / "project")
    onnx.save(models.cnn(), work.root / "model.onnx")
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:400, None]
    np.savez(work.root / "data.npz", image=images, label=digits.target[:400])
    for _, *words in SHELL:
        ran = work(*words)
        if words[0] == "init":
            work.edit("Compressfile", "metrics: [top1, latency, size]", "metrics: [top1, size]")
            work.edit("Compressfile", "{data: data.calibration}", "{data: data.calibration, samples: 32}")
        elif words == ["report"]:
            assert (work.root / "report.html").is_file()
            work.edit("Compressfile", "samples: 32", "method: {choose: [minmax, entropy], value: minmax}")
        elif words[0] == "tune" and "--apply" in words:
            assert "value:" in (work.root / "Compressfile").read_text()
        assert "Traceback" not in ran.text
    assert sorted(each.name for each in (work.root / "build").iterdir()) == ["fp32", "static-int8"]


def test_it_is_printed_at_once(tmp_path: Path) -> None:
    work = Work(tmp_path)
    assert work("skill").out == SKILL
    assert work("skill", "--path").out == f"{path()}\n"
    code = (
        "import sys; from compressbuild.cli.main import main; main(['skill', '--path']); "
        "print(sorted({'networkx', 'yaml', 'rich', 'anyio', 'mcp', 'pluggy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True, env=os.environ)
    assert ran.stdout.splitlines()[-1] == "[]"
