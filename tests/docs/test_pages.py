"""Every page: links lead somewhere, blocks are what they say they are, and no word is of another place."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, every, prose

from compressbuild.compressfile.problems import Problems
from compressbuild.compressfile.reader import read

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TEXTS = [*PAGES, ROOT / "Compressfile.example", ROOT / "Makefile", ROOT / "pyproject.toml", *(ROOT / ".ci").iterdir()]


def anchors(page: Path) -> set[str]:
    """Of headings, as Markdown viewers make them: lower case, punctuation gone, spaces to hyphens, doubles numbered."""
    found: dict[str, int] = {}
    names = set()
    for title in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        is_dead = not target.exists() or not target.is_relative_to(ROOT)
        if is_dead or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        seen.add(page)
        for link in LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                queue.append(target)
    assert [
        str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in seen
    ] == []


@pytest.mark.parametrize("block", every("yaml"), ids=str)
def test_yaml_is_of_the_strict_kind(block: Block) -> None:
    problems = Problems()
    read(block.text, "block", problems)
    problems.check()


@pytest.mark.parametrize("block", every("python"), ids=str)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", every("json", "toml"), ids=str)
def test_data_is_data(block: Block) -> None:
    if block.language == "toml":
        tomllib.loads(block.text)
        return
    for line in block.text.splitlines():
        json.loads(line)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_place_of_one_machine_is_named(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"(?<![\w.])/(?:work|tmp|root|home)/\S*", text) == []
    assert re.findall(r"\bpypi\.\w+|files\.pythonhosted\S*|--index-url\S*", text) == []


@pytest.mark.parametrize("page", ["threat-model", "reliability"])
def test_every_test_that_a_promise_names_is_there(page: str) -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / f"docs/{page}.md").read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
