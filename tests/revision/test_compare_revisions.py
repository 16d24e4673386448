"""``cbuild compare TARGET@REF TARGET``: from the cache, or measured from a temporary checkout."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from command import Inline
from repositories import commit, git

COMPRESSFILE = """\
version: 1
models: {good: {file: good.txt}, base: {file: base.txt}}
evaluate: {metrics: [shares, length, wait], baseline: still}
targets:
  still: {from: base, steps: [toy.copy]}
  t: {from: good, steps: [toy.copy]}
"""


@pytest.fixture
def work(tmp_path: Path) -> Inline:
    made = Inline(tmp_path / "repository", toy=True)
    for name, text in {
        "Compressfile": COMPRESSFILE, "good.txt": "good", "base.txt": "base", ".gitignore": "build\ncache\n.cbuild\n",
    }.items():  # fmt: skip
        made.write(name, text)
    git(made.root, "init", "-q", "-b", "main")
    commit(made.root)
    return made


def compared(work: Inline, *words: str) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(work("compare", *words, "--json").out)
    return found


def test_what_was_built_before_is_in_the_cache(work: Inline):
    work("all")
    work.edit("good.txt", "good", "bad, and longer")
    work("t")
    found = compared(work, "t@main", "t")
    assert (found["first"], found["second"]) == ("t@main", "t")
    rows = {row["metric"]: row for row in found["rows"]}
    assert (rows["length"]["first"], rows["length"]["second"]) == (4, 15)
    assert rows["shares"]["first"] > rows["shares"]["second"]
    assert found["sizes"] == [4, 15]
    assert "t@main" in work("compare", "t@main", "t").out
    assert compared(work, "t", "t@main")["sizes"] == [15, 4]
    assert compared(work, "still@main", "t")["sizes"] == [4, 15]


def test_what_was_not_built_is_measured_from_a_checkout(work: Inline):
    work.edit("good.txt", "good", "better by far")
    work("all")
    ran = work("compare", "t@main", "t", code=2)
    assert "'t@main' is not in the cache" in ran.err
    assert "--measure" in ran.err
    before = (work.root / "build" / "t" / "value").read_text()
    found = compared(work, "t@main", "t", "--measure")
    assert found["sizes"] == [4, 13]
    assert (work.root / "build" / "t" / "value").read_text() == before
    assert git(work.root, "status", "--porcelain").split() == ["M", "good.txt"]
    assert compared(work, "t@main", "t")["sizes"] == [4, 13]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("t@nowhere", "t"), "git knows no revision 'nowhere'"),
        (("u@main", "t"), "unknown target 'u' in 'main'"),
        (("t@main", "u"), "unknown target 'u'"),
        (("t@main", "t@main"), "'t@main' cannot be compared with itself"),
    ],
)
def test_what_cannot_be_compared(work: Inline, words: tuple[str, ...], said: str):
    assert said in work("compare", *words, code=2).err


def test_two_revisions(work: Inline):
    work("all")
    work.edit("good.txt", "good", "second one")
    git(work.root, "tag", "v1")
    commit(work.root)
    work("all")
    work.edit("good.txt", "second one", "third")
    assert compared(work, "t@v1", "t@HEAD")["sizes"] == [4, 10]
