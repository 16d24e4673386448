"""Every error of the Compressfile, word for word.

``tests/golden/NAME.yaml`` is a bad file (its leading ``# --set PATH=VALUE`` lines are settings), ``NAME.txt`` what the
user reads. ``CBUILD_UPDATE_GOLDEN=1 pytest tests/compressfile/test_golden.py`` writes the texts anew; read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from compressbuild.compressfile.excerpt import render
from compressbuild.compressfile.load import loads
from compressbuild.compressfile.text import decode
from compressbuild.errors import CompressfileError

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.yaml"))
UPDATE = os.environ.get("CBUILD_UPDATE_GOLDEN") == "1"


def complaint(file: Path) -> str:
    with pytest.raises(CompressfileError) as caught:
        text = decode(file.read_bytes(), "Compressfile")
        settings = [line.removeprefix("# --set ") for line in text.splitlines() if line.startswith("# --set ")]
        loads(text, Path("Compressfile"), settings)
    return render(caught.value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_golden(file: Path) -> None:
    if file.stem.startswith("yaml-") and not yaml.__with_libyaml__:
        pytest.skip("the places of syntax errors are libyaml's")
    found = complaint(file) + "\n"
    expected = file.with_suffix(".txt")
    if UPDATE:
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_every_text_has_its_file() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {file.stem for file in FILES}
    assert len(FILES) >= 30
