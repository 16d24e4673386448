from __future__ import annotations

from collections.abc import Callable

import pytest

from compressbuild.compressfile.names import COMMANDS
from compressbuild.compressfile.select import select
from compressbuild.compressfile.spec import Spec
from compressbuild.errors import UsageError

TEXT = """\
targets:
  b: {from: net}
  cpu-a: {from: b}
  cpu-b: {from: b}
  a: {from: cpu-b}
groups:
  cpus: ["cpu-*"]
  both: [a, cpus]
"""


@pytest.fixture
def loaded(spec: Callable[..., Spec]) -> Spec:
    return spec(TEXT)


@pytest.mark.parametrize(
    ("words", "names", "own"),
    [
        ((), [], []),
        (("a",), ["a"], ["a"]),
        (("a", "b", "a"), ["b", "a"], ["a", "b"]),
        (("all",), ["b", "cpu-a", "cpu-b", "a"], []),
        (("all", "a"), ["b", "cpu-a", "cpu-b", "a"], ["a"]),
        (("cpus",), ["cpu-a", "cpu-b"], []),
        (("both", "cpu-a"), ["cpu-a", "cpu-b", "a"], ["cpu-a"]),
        (("cpu-?",), ["cpu-a", "cpu-b"], []),
        (("[ab]",), ["b", "a"], []),
        (("*-b", "b"), ["b", "cpu-b"], ["b"]),
    ],
)
def test_words(loaded: Spec, words: tuple[str, ...], names: list[str], own: list[str]) -> None:
    assert select(loaded, words) == (tuple(names), frozenset(own))


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("cpu-c", "unknown target 'cpu-c'", "did you mean 'cpu-"),
        ("gpu-*", "no target matches 'gpu-*'", "did you mean 'cpu-"),
        ("net", "'net' is a model, and models are not built", "name a target made from it: b"),
        ("CPUS", "unknown target 'CPUS'", "did you mean 'cpus'?"),
        ("zzzzzzzz", "unknown target 'zzzzzzzz'", "targets: b, cpu-a, cpu-b, a, cpus, both, all"),
        ("", "unknown target ''", "targets: "),
    ],
)
def test_words_that_select_nothing(loaded: Spec, word: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(loaded, ("a", word))
    assert str(caught.value) == message
    assert str(caught.value.hint).startswith(hint)


def test_no_target_is_called_as_a_command(refused: Callable[..., list[str]]) -> None:
    for word in COMMANDS:
        assert refused(f"targets: {{{word}: {{from: net}}}}\n") == [
            f"a target cannot have the name '{word}': it is a command of cbuild"
        ]
