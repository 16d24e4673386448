"""The test that docs/hacking.md shows passes, and what it names is there."""

from __future__ import annotations

import re
from typing import Any

from pages import ROOT, blocks
from toyproject import Toy

PAGE = ROOT / "docs" / "hacking.md"


def test_the_example_of_a_test_passes(toy: Toy) -> None:
    (block,) = blocks(PAGE, "python")
    names: dict[str, Any] = {}
    exec(compile(block.text, str(PAGE), "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0](toy)


def test_every_place_and_target_it_names_exists() -> None:
    text = PAGE.read_text()
    missing = [path for path in re.findall(r"`((?:tests|docs|plugins)/[\w./]+)`", text) if not (ROOT / path).exists()]
    assert [path for path in missing if "NAME" not in path] == []
    makefile = (ROOT / "Makefile").read_text()
    for line in re.findall(r"^make ([a-z ]+?)(?= *#|$)", text, re.MULTILINE):
        for target in line.split():
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
