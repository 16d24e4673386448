"""A built project of the toy plugin, to push."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Inline, Work

TEXT = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [length]}
targets:
  first: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}]}
  second:
    from: first
    steps: [toy.copy]
    gates: {length: {max: 9}}
publish:
  here: {to: "out/models", targets: ["*"]}
"""


@pytest.fixture(scope="session")
def pushable(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Not to be altered: take ``toys``."""
    work = Inline(tmp_path_factory.mktemp("push") / "toys", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work("all")
    return work


@pytest.fixture
def toys(pushable: Work, tmp_path: Path) -> Work:
    return pushable.copy(tmp_path / "toys")
