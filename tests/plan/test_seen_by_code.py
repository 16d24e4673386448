"""What code can see of a listed directory, beside the bytes of its files, is in the key or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from compressbuild.compressfile.nodes import plain
from compressbuild.errors import CompressfileError
from compressbuild.execute.request import make_request

FILE = """\
version: 1
models: {m: {file: f.txt}}
datasets: {d: {loader: 'load:go', files: [data], args: {classes: {cat: 0, dog: 1}}}}
targets: {t: {from: m, steps: [toy.copy: {data: d}]}}
"""


@pytest.fixture
def project(toy):
    toy.write("Compressfile", FILE)
    toy.write("load.py", "def go(classes):\n    return []\n")
    toy.write("data/a.txt", "a")
    toy.write("beyond/b.txt", "b")
    os.symlink("../beyond", toy.root / "data/linked")
    return toy


def key(project) -> str | None:
    opened = project.open()
    try:
        node = next(node for node in opened.graph.nodes if node.name == "toy.copy")
        return opened.keyer.key(opened.keyer.parts(node, {"subject": "0" * 64}))
    finally:
        opened.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "a.txt").chmod(0o755),
        lambda data: (data / "class").mkdir(),
        lambda data: (data / "linked/b.txt").write_text("c"),
        lambda data: (data / "linked/new.txt").write_text("c"),
        lambda data: ((data / "linked").unlink(), (data / "linked").mkdir()),
    ],
    ids=["executable", "an empty directory", "behind a link", "new behind a link", "a link becomes a directory"],
)
def test_it_is_in_the_key(project, change: Callable[[Path], object]) -> None:
    before = key(project)
    assert key(project) == before
    change(project.root / "data")
    assert key(project) != before


def test_a_link_that_leads_back_is_refused_by_name(project) -> None:
    os.symlink("..", project.root / "data/back")
    opened = project.open()
    with pytest.raises(CompressfileError, match="leads back to a directory above it"):
        opened.plan(["t"])
    opened.close()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("nowhere", path)], ids=["pipe", "dangling"])
def test_what_is_no_file_is_refused_by_name(project, make: Callable[[str], None]) -> None:
    make(str(project.root / "data/odd"))
    opened = project.open()
    with pytest.raises(CompressfileError, match="cannot read 'data/odd'"):
        opened.plan(["t"])
    opened.close()


def test_a_name_that_is_not_utf8_is_refused(project) -> None:
    Path(os.fsdecode(os.fsencode(project.root) + b"/data/\xff")).write_text("x")
    opened = project.open()
    with pytest.raises(CompressfileError, match="is not UTF-8"):
        opened.plan(["t"])
    opened.close()


def test_the_order_of_a_mapping_reaches_no_code(project) -> None:
    """Two spellings have one key, so a node must be given one order."""

    def given(text: str) -> list[str]:
        project.write("Compressfile", text)
        opened = project.open()
        node = next(node for node in opened.graph.nodes if node.name == "toy.copy")
        request = make_request(
            opened.graph, opened.keyer, node, {},
            out=project.root, scratch=project.root, checkpoint=project.root, ignore=(),
        )  # fmt: skip
        opened.close()
        return list(request.datasets["d"].args["classes"])

    swapped = FILE.replace("{cat: 0, dog: 1}", "{dog: 1, cat: 0}")
    assert given(FILE) == given(swapped)
    opened = project.open()
    assert list(plain(opened.spec.datasets["d"].args)["classes"]) == ["dog", "cat"], "the spelling did differ"
    opened.close()


def test_a_glob_over_a_directory_that_cannot_be_listed(project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no directory without files: else what is made without them would be published."""
    project.write("Compressfile", FILE.replace("files: [data]", "files: ['data/*/*.txt']"))
    project.write("data/x/c.txt", "c")
    assert key(project)
    plain = os.scandir

    def refused(path: str = ".") -> object:
        if str(path).rstrip("/").endswith("data/x"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(CompressfileError) as caught:
        project.build("all")
    (problem,) = caught.value.diagnostics
    assert problem.message == "cannot list 'data/x': Permission denied"
    assert problem.mark.line == 3
