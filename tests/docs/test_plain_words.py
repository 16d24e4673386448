"""Pages, messages and docstrings avoid the words that read as translated."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = re.compile(r"\b(anew|of\s+which|whereof|for ever|(is|are) told|mend(s|ed)?|shall)\b", re.IGNORECASE)


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each literal, docstrings included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def _found(text: str) -> list[str]:
    return [match.group() for match in WORDS.finditer(text)]


def test_pages() -> None:
    pages = [page for page in _tracked("*.md") if page.name != "CHANGELOG.md" and "LICENSE" not in page.name]
    assert len(pages) > 40
    wrong = {
        f"{page.relative_to(ROOT)}:{number}": found
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if (found := _found(line))
    }
    assert not wrong


def test_messages_and_docstrings() -> None:
    files = _tracked("compressbuild/*.py", "plugins/*.py")
    assert len(files) > 100
    wrong = {
        f"{file.relative_to(ROOT)}:{number}": found
        for file in files
        for number, text in _texts(file.read_text())
        if (found := _found(text))
    }
    assert not wrong


@pytest.mark.parametrize("text", ["loaded anew", "a list, of\nwhich one", "Mends it", "the worker is told", "it shall"])
def test_seen(text: str) -> None:
    assert _found(text)


@pytest.mark.parametrize("text", ["recommended", "the shallow one", "amended", "renewed"])
def test_left_alone(text: str) -> None:
    assert not _found(text)
