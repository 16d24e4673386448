"""Remembered nodes: equal to parsed ones, and never those of another text or of another parser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compressbuild.compressfile import parsed, reader
from compressbuild.compressfile.load import load
from compressbuild.compressfile.problems import Problems
from compressbuild.errors import CompressfileError

TEXT = """
version: 1
models: {m: {file: f.txt, "quoted": "1", n: [1, -2, 18446744073709551615, 0.5, true, null, "π"]}}
empty: {}
list:
  - []
  - a: |
      two
      lines
"""


@pytest.fixture
def memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(parsed, "_STARTED", 2**62)  # the code is older than this process, whatever checked it out
    return tmp_path / "parsed"


def read(text: str, memo: Path | None, file: str = "Compressfile") -> object:
    problems = Problems({file: text})
    found = parsed.read(text, file, problems, memo)
    problems.check()
    return found


def forbidden(*_: object) -> None:
    raise AssertionError("it was parsed")


def test_a_remembered_text_is_not_parsed_and_gives_the_same(memo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read(TEXT, memo)
    assert first == read(TEXT, None)
    there = read(TEXT, None, "there/Compressfile")
    monkeypatch.setattr(reader, "read", forbidden)
    assert read(TEXT, memo) == first
    assert repr(read(TEXT, memo)) == repr(first)  # 1, 1.0 and true are equal, but not the same
    assert read(TEXT, memo, "there/Compressfile") == there


def test_another_text_is_parsed(memo: Path) -> None:
    read(TEXT, memo)
    other = TEXT.replace("0.5", "0.6")
    assert read(other, memo) == read(other, None)
    assert read(TEXT, memo) == read(TEXT, None)


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: yes\n", "a: &b 1\n", "a: [\n"])
def test_a_text_with_a_problem_is_not_remembered(memo: Path, text: str) -> None:
    for _ in range(2):
        with pytest.raises(CompressfileError):
            read(text, memo)
    assert not memo.exists()


@pytest.mark.parametrize("damage", [b"", b"compressbuild-parsed-1 nothing", None])
def test_a_damaged_memo_is_no_error(memo: Path, damage: bytes | None) -> None:
    read(TEXT, memo)
    whole = memo.read_bytes()
    memo.write_bytes(whole[:-9] + b"x" + whole[-8:] if damage is None else damage)
    assert read(TEXT, memo) == read(TEXT, None)
    assert memo.read_bytes() == whole


@pytest.mark.parametrize("name", [*parsed._CODE, "yaml"])
def test_what_another_parser_read_is_parsed_again(memo: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each file of the parser, and the library: as if it had been edited in place, its size and mtime restored."""
    read(TEXT, memo)
    real = parsed.signature

    def edited(path: str) -> tuple[int, int, int, int]:
        found = real(path)
        mine = name in path.split(os.sep)
        return (*found[:3], found[3] - 1) if mine else found

    monkeypatch.setattr(parsed, "signature", edited)
    monkeypatch.setattr(reader, "read", forbidden)
    with pytest.raises(AssertionError, match="it was parsed"):
        read(TEXT, memo)


def test_a_parser_younger_than_this_process_remembers_nothing(memo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed, "_STARTED", 0)
    read(TEXT, memo)
    assert not memo.exists()


def test_no_directory_is_made_for_it(tmp_path: Path, memo: Path) -> None:
    read(TEXT, tmp_path / ".cbuild" / "parsed")
    assert not (tmp_path / ".cbuild").exists()


def test_a_spec_from_memory_is_equal_and_takes_settings(memo: Path, tmp_path: Path) -> None:
    path = tmp_path / "Compressfile"
    path.write_text("version: 1\nvars: {x: 1}\nmodels: {m: {file: f.txt}}\ntargets: {t: {from: m}}\n")
    specs = [load(path, settings, memo=where) for settings in ((), ("vars.x=2",)) for where in (None, memo, memo)]
    assert specs[0] == specs[1] == specs[2]
    assert specs[3] == specs[4] == specs[5]
    assert memo.exists()
