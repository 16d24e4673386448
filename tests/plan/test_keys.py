"""Each row of the key's table: changing it gives another key, and what is not in the table does not."""

from __future__ import annotations

import msgspec
import pytest

from compressbuild.compressfile.spec import RunOptions
from compressbuild.graph import RunWith
from compressbuild.plan import Keyer

TEXT = """version: 1
env: [FLAG]
models:
  m: {file: f.txt}
datasets:
  d: {loader: code.data:load, args: {n: 1}, files: [data.bin]}
targets:
  a: {from: m, steps: [toy.copy: {data: d}]}
"""


@pytest.fixture
def project(toy):
    toy.write("Compressfile", TEXT)
    toy.write("code/__init__.py", "")
    toy.write("code/data.py", "from .helper import rows\n\ndef load(n):\n    return rows(n)\n")
    toy.write("code/helper.py", "def rows(n):\n    return [1] * n\n")
    toy.write("data.bin", "abc")
    return toy


def key(toy, *, change=None, environ=None, inputs=None, tools=None, text=None, facts=None) -> str:
    if text is not None:
        toy.write("Compressfile", text)
    opened = toy.open()
    opened.environ = environ or {}
    try:
        node = opened.graph.nodes[opened.graph.targets["a"].artifact]
        node = msgspec.structs.replace(node, tools=("click",), facts=("cpu.model",))
        if change:
            node = change(node)
        keyer = Keyer(
            opened.spec,
            facts or opened.facts,
            opened.code,
            opened.stat,
            tools or opened.registry,
            opened.environ,
        )
        return Keyer.key(keyer.parts(node, inputs or {"subject": "0" * 64}))
    finally:
        opened.close()


class OtherMachine:
    def get(self, name: str) -> str:
        return "another CPU"


class OtherTools:
    def tool_versions(self, names):
        return dict.fromkeys(names, "9.9")

    def module_versions(self, modules):
        return {}


def options(**changed):
    def change(node):
        merged = {f.name: getattr(node.options, f.name) for f in msgspec.structs.fields(RunOptions)} | changed
        return msgspec.structs.replace(node, options=RunOptions(**merged))

    return change


def replaced(**changed):
    return lambda node: msgspec.structs.replace(node, **changed)


def run_with(settings):
    return replaced(run_with={"subject": RunWith("toy:load", "backend x", 1, settings)})


CHANGES = {
    "technique name": {"change": replaced(name="other")},
    "technique version": {"change": replaced(version=2)},
    "plugin function": {"change": replaced(run="toy:mix")},
    "parameter": {"change": replaced(key_params={"fail": "", "note": "x"})},
    "input": {"inputs": {"subject": "1" * 64}},
    "input role": {"inputs": {"baseline": "0" * 64}},
    "platform settings": {"change": run_with({"threads": 2})},
    "seed": {"change": options(seed=1)},
    "threads": {"change": options(threads=2)},
    "timeout": {"change": options(timeout=5.0)},
    "environment": {"environ": {"FLAG": "1"}},
    "tool": {"tools": OtherTools()},
    "fact": {"facts": OtherMachine()},
    "dataset argument": {"text": TEXT.replace("{n: 1}", "{n: 2}")},
    "dataset files": {"text": TEXT.replace("[data.bin]", "[data.bin, f.txt]")},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_gives_another_key(project, name: str) -> None:
    assert key(project) != key(project, **CHANGES[name])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.bin", "abd"),
        ("code/data.py", "def load(n):\n    return []\n"),
        ("code/helper.py", "def rows(n):\n    return [2]\n"),
    ],
)
def test_a_changed_file_gives_another_key(project, file: str, text: str) -> None:
    before = key(project)
    project.write(file, text)
    assert key(project) != before


def test_what_does_not_count(project) -> None:
    before = key(project)
    project.write("code/helper.py", "# a comment\ndef rows( n ):\n\n    return [1]*n\n")
    assert key(project) == before, "comments and formatting"
    renamed = (
        TEXT.replace("  d: {", "  other: {").replace("data: d}", "data: other}").replace("  a: {", "  # why\n  a: {")
    )
    assert key(project, text=renamed) == before, "the name of a dataset, a comment in the Compressfile"
    assert key(project, environ={"OTHER": "1"}) == before, "a variable that is not allowed"
    assert key(project, change=options(memory=10**9)) == before, "the memory limit"
    moved = type(project)(project.root.parent / "moved")
    project.root.rename(moved.root)
    assert key(moved) == before, "where the project lies"


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("data.bin", "there is no file 'data.bin'"),
        ("f.txt", "there is no file 'f.txt'"),
        ("code/data.py", "code.data"),
    ],
)
def test_a_check_finds_what_the_key_will_miss(project, lost: str, message: str) -> None:
    """All that ``parts`` would report, although no input has been built."""

    def problems(look) -> list[str]:
        opened = project.open()
        try:
            for index in opened.graph.order:
                look(opened.keyer, opened.graph.nodes[index])
            return list(dict.fromkeys(str(problem) for problem in opened.keyer.problems))
        finally:
            opened.close()

    assert problems(lambda keyer, node: keyer.check(node)) == []
    (project.root / lost).unlink()
    found = problems(lambda keyer, node: keyer.check(node))
    assert any(message in each for each in found)
    assert found == problems(lambda keyer, node: keyer.parts(node, {}))
