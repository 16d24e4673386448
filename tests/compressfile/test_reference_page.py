"""docs/compressfile.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compressbuild.compressfile.checks import OPTIONS
from compressbuild.compressfile.evaluation import EVALUATE_KEYS
from compressbuild.compressfile.gates import GATE_KEYS
from compressbuild.compressfile.load import TOP_KEYS, loads
from compressbuild.compressfile.names import COMMANDS
from compressbuild.compressfile.problems import Problems
from compressbuild.compressfile.reader import read
from compressbuild.compressfile.sections import DATASET_KEYS, INPUT_KEYS, MODEL_KEYS
from compressbuild.compressfile.targets import TARGET_KEYS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "compressfile.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
KEYS = {*TOP_KEYS, *MODEL_KEYS, *INPUT_KEYS, *DATASET_KEYS, *TARGET_KEYS, *GATE_KEYS, *EVALUATE_KEYS, *OPTIONS}


@pytest.mark.parametrize("word", sorted({*KEYS, *COMMANDS}))
def test_every_key_and_reserved_word_is_there(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("text", BLOCKS)
def test_examples_are_read(text: str) -> None:
    problems = Problems()
    read(text, "f", problems)
    problems.check()


def test_the_whole_example_loads() -> None:
    spec = loads(BLOCKS[0], Path("Compressfile"))
    assert list(spec.targets)[-4:] == ["sweep-fp16-cpu", "sweep-fp16-rtx-ada", "sweep-int8-cpu", "sweep-int8-rtx-ada"]
    assert spec.groups["edge"] == ("cpu-int8", "sweep-fp16-cpu", "sweep-int8-cpu")
    again = loads(BLOCKS[0], Path("Compressfile"), re.findall(r"--set '?(targets[^'\n]+)", PAGE))
    assert "sweep-int8-cpu" in again.targets
    assert "sweep-int8-rtx-ada" not in again.targets


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub("[^a-z0-9 -]", "", line.lower()).replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= headings
