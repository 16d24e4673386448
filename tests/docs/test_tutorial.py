"""The tutorial is run from its first block to its last, in an empty directory, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pattern(line: str) -> re.Pattern[str]:
    """A line of shown output: numbers and the padding of a table differ from run to run, words do not."""
    text = re.escape(" ".join(line.split()))
    text = re.sub(r"(\\\.|\d)+", r"[\\d.]+", text)
    return re.compile(re.sub(r"(\\ )+", r"\\s+", text))


def shows(output: str, shown: str) -> str | None:
    """The first shown line that is not in the output, in order; ``…`` stands for any lines."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    at = 0
    for line in shown.splitlines():
        if line.strip() in ("", "…"):
            continue
        hit = next((i for i in range(at, len(lines)) if pattern(line).fullmatch(lines[i])), None)
        if hit is None:
            return line
        at = hit + 1
    return None


def run(block: str, where: Path) -> str:
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    output = ""
    for line in block.splitlines():
        command, _, expected = line.partition("# exits ")
        done = subprocess.run(
            ["bash", "-c", command], cwd=where, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == int(expected or 0), f"{command}\n{done.stdout}{done.stderr}"
        output += done.stdout + done.stderr
    return output


def test_every_block_does_what_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("tensorrt_rtx")
    output = ""
    ran = 0
    for language, text in BLOCK.findall(PAGE.read_text()):
        first, _, rest = text.partition("\n")
        if first.startswith("# file: "):
            (tmp_path / first.removeprefix("# file: ")).write_text(rest)
        elif language == "sh":
            output = run(text, tmp_path)
            ran += 1
        elif output:
            missing = shows(output, text)
            assert missing is None, f"'{missing}' is not in:\n{output}"
    assert ran >= 7
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_measure_sees_a_wrong_line() -> None:
    output = "built  a/x  0.3 s\n| t | 12.0 kB |\n"
    assert shows(output, "…\n| t | 5 kB |\n") is None
    assert shows(output, "| u | 5 kB |") == "| u | 5 kB |"
    assert shows(output, "| t | 5 kB |\nbuilt a/x 1 s") == "built a/x 1 s"
