"""A hint names the likely cause before it says which check to loosen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOSENING = re.compile(
    r"allow more|loosen|(?:raise|lower|larger|smaller) '(?:tolerance|atol|rtol|max-|min-|cosine|sqnr)|parity: false"
)

CHECKS = re.compile(r"allow more|loosen|tolerance|atol|rtol|max-|min-|cosine|sqnr|parity")


def text(node: ast.expr) -> str:
    """The literal text of a string, with a placeholder where it is computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    return "…"


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal that stands alone: an f-string once, not its parts."""
    parts: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts.update(node.values)
        if isinstance(node, ast.Constant | ast.JoinedStr) and node not in parts:
            yield node.lineno, text(node)


def loosens_first(hint: str) -> bool:
    """Whether nothing stands before the advice to loosen a check. A semicolon ends what stands before."""
    found = LOOSENING.search(hint)
    return found is not None and ";" not in hint[: found.start()]


@pytest.mark.parametrize(
    ("hint", "first"),
    [
        ("allow more, or give more samples", True),
        ("raise 'tolerance:'", True),
        ("keep sensitive parts in float32, or raise 'tolerance:'", True),
        (
            "most likely values beyond 65504: keep those operators in float32; raise 'tolerance:' if quality holds",
            False,
        ),
        ("raise 'ratio:', or lower 'energy:'", False),
    ],
)
def test_what_is_found(hint: str, first: bool) -> None:
    assert loosens_first(hint) is first


def test_no_hint_loosens_a_check_first() -> None:
    files = [file for room in ("compressbuild", "plugins") for file in sorted((ROOT / room).rglob("*.py"))]
    sources = {file: file.read_text(encoding="utf-8") for file in files}
    found = [
        f"{file.relative_to(ROOT)}:{line}: {said}"
        for file, source in sources.items()
        if CHECKS.search(source)  # parsing all takes seconds
        for line, said in strings(source)
        if loosens_first(said)
    ]
    assert len(files) > 300
    assert not found, "\n".join(found)
