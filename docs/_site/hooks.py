"""The site's pages link to files outside of ``docs/``, as they do on disk: those files become pages of the site."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")


def place(path: Path) -> str:
    """Where a file of the repository is in the site, relative to its root."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    inside = "repository/" + path.relative_to(ROOT).as_posix()
    return inside if path.suffix in (".md", ".svg", ".png") else inside + ".md"


def rewritten(text: str, source: Path) -> tuple[str, list[Path]]:
    """The page with its links as the site has them, and the files beyond ``docs/`` that they lead to."""
    outside: list[Path] = []

    def link(match: re.Match[str]) -> str:
        target, hash_, anchor = match[2].partition("#")
        path = (source.parent / target).resolve()
        if not target or "://" in target or not path.is_file():
            return match[0]
        if not path.is_relative_to(DOCS):
            outside.append(path)
        there = os.path.relpath(place(path), os.path.dirname(place(source)) or ".")
        return f"{match[1]}{there}{hash_}{anchor}{match[3]}"

    parts = FENCED.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts), outside


def on_files(files: Files, config: Any) -> Files:
    queue = [path for page in files.documentation_pages() if (path := Path(str(page.abs_src_path))).is_file()]
    seen = set(queue)
    while queue:
        source = queue.pop()
        text = source.read_text()
        if source.suffix != ".md":
            language = {".py": "python", ".yaml": "yaml"}.get(source.suffix, "yaml")
            content = f"# {source.relative_to(ROOT)}\n\n````{language}\n{text}\n````\n"
        else:
            content, outside = rewritten(text, source)
            new = [path for path in outside if path not in seen]
            queue += new
            seen.update(new)
        if not source.is_relative_to(DOCS):
            made = File.generated(config, place(source), content=content)
            made.inclusion = made.inclusion.__class__.NOT_IN_NAV
            files.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    source = page.file.abs_src_path
    return rewritten(markdown, Path(source))[0] if source and Path(source).is_relative_to(DOCS) else markdown
