"""A change of a Compressfile touches what it says and nothing else."""

from __future__ import annotations

import difflib

import pytest

from compressbuild.advise.edits import edited
from compressbuild.api.advice import Edit
from compressbuild.errors import Mark

TEXT = """\
# a comment of the file
targets:
  flow:
    steps: [prune.a: {ratio: 0.5, x: "a, b"}, quantize.b, {train.c: {epochs: 2}}]   # first
  block:
    steps:
      - prune.a: {ratio: 0.5}  # second
      - quantize.b
      - train.c: {}
      - distill.d:
          data: train   # its data
          epochs: 2
      - export.e:
        timeout: 5s
  only:
    steps:
      - alone.f
  apart:
    steps: [{save.g: {a: 1}, timeout: 5s}]
"""


def mark(word: str, nth: int = 1) -> Mark:
    """Where ``word`` stands for the nth time."""
    at = -1
    for _ in range(nth):
        at = TEXT.index(word, at + 1)
    return Mark("Compressfile", TEXT.count("\n", 0, at) + 1, at - TEXT.rfind("\n", 0, at), len(word))


def lines(edit: Edit, text: str = TEXT) -> list[str] | None:
    """The lines that the change removes and adds."""
    new = edited(text, edit)
    if new is None:
        return None
    found = difflib.ndiff(text.splitlines(), new.splitlines())
    return [line[0] + line[2:].strip() for line in found if line[0] in "+-"]


@pytest.mark.parametrize(
    ("edit", "added"),
    [
        (Edit("set", mark("prune.a"), "ratio", "0.2"), '{ratio: 0.2, x: "a, b"}, quantize.b'),
        (Edit("set", mark("prune.a"), "more", "1"), '{ratio: 0.5, x: "a, b", more: 1}, quantize.b'),
        (Edit("set", mark("quantize.b"), "more", "1"), "quantize.b: {more: 1}, {train.c: {epochs: 2}}]   # first"),
        (Edit("set", mark("train.c"), "epochs", "9"), "{train.c: {epochs: 9}}]   # first"),
        (Edit("replace", mark("prune.a"), text="p: {}"), "steps: [p: {}, quantize.b, {"),
        (Edit("replace", mark("train.c"), text="t: {}"), "quantize.b, t: {}]   # first"),
        (Edit("replace", mark("prune.a"), text="p: {}", then="t: {}"), "steps: [p: {}, t: {}, quantize.b, {"),
        (Edit("after", mark("quantize.b"), text="t: {}"), "quantize.b, t: {}, {train.c"),
        (Edit("after", mark("train.c"), text="t: {}"), "{train.c: {epochs: 2}}, t: {}]   # first"),
        (Edit("remove", mark("prune.a")), "steps: [quantize.b, {"),
        (Edit("remove", mark("train.c")), "quantize.b]   # first"),
    ],
)
def test_a_step_in_brackets(edit: Edit, added: str) -> None:
    found = lines(edit)
    assert found is not None
    assert len(found) == 2, "one line changes"
    assert added in found[1]


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (
            Edit("set", mark("prune.a", 2), "ratio", "0.2"),
            ["-- prune.a: {ratio: 0.5}  # second", "+- prune.a: {ratio: 0.2}  # second"],
        ),
        (Edit("set", mark("quantize.b", 2), "k", "v"), ["-- quantize.b", "+- quantize.b: {k: v}"]),
        (Edit("set", mark("train.c", 2), "k", "v"), ["-- train.c: {}", "+- train.c: {k: v}"]),
        (Edit("set", mark("distill.d"), "k", "v"), ["+k: v"]),
        (Edit("set", mark("distill.d"), "epochs", "3"), ["-epochs: 2", "+epochs: 3"]),
        (Edit("replace", mark("quantize.b", 2), text="q"), ["-- quantize.b", "+- q"]),
        (Edit("replace", mark("quantize.b", 2), text="q", then="t: {}"), ["-- quantize.b", "+- q", "+- t: {}"]),
        (Edit("after", mark("prune.a", 2), text="t: {}"), ["+- t: {}"]),
        (Edit("remove", mark("quantize.b", 2)), ["-- quantize.b"]),
        (Edit("remove", mark("alone.f")), None),
        (Edit("remove", mark("distill.d")), None),
        (Edit("replace", mark("export.e"), text="x"), None),
        (Edit("replace", mark("save.g"), text="x"), None),  # its timeout would go, too
        (Edit("set", Mark("Compressfile", 1, 1), "k", "v"), None),
    ],
)
def test_a_step_of_its_own_line(edit: Edit, changed: list[str] | None) -> None:
    assert lines(edit) == changed


def test_line_ends_stay() -> None:
    text = TEXT.replace("\n", "\r\n")
    new = edited(text, Edit("after", mark("prune.a", 2), text="t: {}"))
    assert new is not None
    assert new.count("\n") == new.count("\r\n") == TEXT.count("\n") + 1


def test_a_last_line_without_an_end() -> None:
    text = TEXT[: TEXT.index("  apart:")].rstrip("\n")
    new = edited(text, Edit("after", mark("alone.f"), text="t: {}"))
    assert new is not None
    assert new.endswith("      - alone.f\n      - t: {}\n")
