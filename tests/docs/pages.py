"""The project's pages, and what is on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "Compressfile.example").read_text()
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
    ]
)
INPUTS = "inputs: {image: {shape: [batch, 1, 8, 8]}}"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: ``language`` as written after the fence."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}#{self.number}"


def blocks(page: Path, *languages: str) -> list[Block]:
    found = [Block(page, n, language, text) for n, (language, text) in enumerate(FENCE.findall(page.read_text()))]
    return [block for block in found if not languages or block.language in languages]


def every(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, without the line of dashes."""
    found = []
    for chunk in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in chunk.splitlines()]
        found.append([row for row in rows if not all(set(cell) <= set("-: ") for cell in row)])
    return found


def strangers(text: str) -> list[str]:
    """Models that ``targets:`` of a page start from or name as student, and that the example does not have."""
    known = set(re.findall(r"^  ([\w.-]+):", EXAMPLE + text, re.MULTILINE))
    return sorted(set(re.findall(r"\b(?:from|student): ([\w.-]+)", text)) - known)


def with_example(text: str) -> str:
    """``targets:`` of a page, as a Compressfile: on the models, data and platforms of the example, and beside its
    ``digits``, ``slim`` and ``onnx``, without their gates. A page's own target of such a name takes its place; a model
    that it only supposes is the example's network."""
    head, _, targets = EXAMPLE.partition("\ntargets:\n")
    own = set(re.findall(r"^  ([\w.-]+):", text, re.MULTILINE))
    parts = re.split(r"(?m)^(?=  [\w.-]+:)", targets.partition("\n  cpu-fp32:")[0])
    kept = [part for part in parts if (name := re.match(r"  ([\w.-]+):", part)) and name[1] not in own]
    head = re.sub(r"(?ms)^evaluate:.*", "evaluate: {data: test}\n", head)
    gates = re.compile(r"^    gates:\n(?:      .*\n)+", re.MULTILINE)
    for name in strangers(text):
        head = head.replace("models:\n", f"models:\n  {name}: {{factory: examples.digits.model:build, {INPUTS}}}\n")
    return f"{head}\n{text.rstrip()}\n{gates.sub('', ''.join(kept))}"
