"""A built project of the toy plugin, for commands that only look."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Inline, Work

TEXT = """\
version: 1
vars: {salt: 1}
models: {f: {file: f.txt}}
evaluate: {metrics: [length, wait], baseline: first}
targets:
  first: {from: f, steps: [{toy.mix: {salt: "${vars.salt}"}}]}
  second:
    from: first
    steps: [{toy.copy: {note: "a <b> & \\"c\\""}}]
    gates: {length: {max: 9}}
  third-${n}:
    matrix: {n: [1, 2]}
    from: second
    steps: [{toy.mix: {salt: "${n}", others: [first]}}]
groups: {both: ["third-*"]}
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Not to be altered: take ``toys``."""
    work = Inline(tmp_path_factory.mktemp("cli") / "toys", toy=True)
    work.write("f.txt", "abc")
    work.write("Compressfile", TEXT)
    work("all")
    return work


@pytest.fixture
def toys(built: Work, tmp_path: Path) -> Work:
    return built.copy(tmp_path / "toys")


@pytest.fixture
def bare(tmp_path: Path) -> Work:
    """An empty directory."""
    return Inline(tmp_path / "bare", toy=True)


@pytest.fixture
def process(built: Work) -> Work:
    """``built``, with commands in processes of their own."""
    return Work(built.root, toy=True)
