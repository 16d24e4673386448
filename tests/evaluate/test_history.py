"""The history of a target, in whole and in pieces."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from command import Inline, Work
from hypothesis import given
from hypothesis import strategies as st

from compressbuild.evaluate.history import Entry, History
from compressbuild.report.text.trend import sparkline, trend_lines


def entry(number: float, **more: Any) -> Entry:
    measured = {"top1": {"value": number, "hits": "AAAA"}, "latency": {"value": 2 * number, "ratio": 0.5}}
    return Entry.of("t", 1000 + number, f"{int(number):064}", {"t/top1": "k"}, measured | more)


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    history = History(tmp_path / "deep" / "history")
    assert history.read("t") == ([], 0)
    made = [entry(number) for number in range(5)]
    for one in made:
        history.append(one)
    assert history.read("t") == (made, 0)
    assert made[3].metrics == {"top1": 3, "latency": 6}
    assert made[3].ratios == {"latency": 0.5}


def test_a_value_that_is_no_number_is_none(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(entry(1, nan={"value": math.nan}, infinite={"value": math.inf}))
    (found,), bad = history.read("t")
    assert bad == 0
    assert (found.metrics["nan"], found.metrics["infinite"]) == (None, None)


@pytest.mark.parametrize("cut", [1, 2, 17, 60])
def test_a_torn_line_costs_itself_alone(cut: int, tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in range(3):
        history.append(entry(number))
    path = history.path("t")
    path.write_bytes(path.read_bytes()[:-cut])
    history.append(entry(9))
    found, bad = history.read("t")
    whole = [0, 1, 2] if cut == 1 else [0, 1]  # the first byte lost is the end of the line
    assert [e.metrics["top1"] for e in found] == [*whole, 9]
    assert bad == (cut > 1)


def test_what_was_there_is_never_written_again(tmp_path: Path) -> None:
    history = History(tmp_path)
    before = b""
    for number in range(4):
        history.append(entry(number))
        now = history.path("t").read_bytes()
        assert now.startswith(before)
        assert len(now) > len(before)
        before = now


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=40))
def test_sparkline(values: list[float | None]) -> None:
    bars = sparkline(values)
    assert len(bars) == len(values)
    known = [v for v in values if v is not None]
    if len(set(known)) > 1 and max(known) - min(known) > 1e-6:
        assert bars[values.index(min(known))] == "▁"
        assert bars[values.index(max(known))] == "█"


def test_trend() -> None:
    lines = list(trend_lines([entry(1), entry(4)], {"latency": "ms"}, {"latency": "lower", "top1": "higher"}, 20))
    assert lines[:2] == ["top1     ▁█  1 → 4 (+300.0%, better)", "latency  ▁█  2 ms → 8 ms (+300.0%, worse)"]
    assert len(list(trend_lines([entry(n) for n in range(9)], {}, {}, 3))) == 2 + 1 + 3


@pytest.fixture
def work(tmp_path: Path) -> Work:
    made = Inline(tmp_path / "p", toy=True)
    made.write("f.txt", "abc")
    made.write(
        "Compressfile",
        "version: 1\nvars: {note: a}\nmodels: {f: {file: f.txt}}\nevaluate: {metrics: [length]}\n"
        'targets: {t: {from: f, steps: [{toy.copy: {note: "${vars.note}"}}], gates: {length: {max: 6}}}}\n',
    )
    return made


def test_a_line_for_each_publication(work: Work) -> None:
    assert "has never been published here" in work("history", "t", code=2).err
    work("t")
    work("t")
    work.write("f.txt", "abcdef")
    work("t")
    work.write("f.txt", "abcdefgh")
    work("t", code=3)  # misses its gate, so it is not published
    found = json.loads(work("history", "t", "--json").out)
    assert [e["metrics"]["length"] for e in found["entries"]] == [3, 6]
    assert set(found["entries"][0]["keys"]) == {"f/source", "t/toy.copy", "t/length"} - {"f/source"}
    assert found["entries"][0]["keys"] != found["entries"][1]["keys"]
    text = work("history", "t").out
    assert text.startswith("t: published 2 times\nlength  ▁█  3 B → 6 B (+100.0%, worse)\n")
    assert "unknown target 'tt'" in work("history", "tt", code=2).err
