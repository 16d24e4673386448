"""The one writer of tables."""

from __future__ import annotations

import pytest

from compressbuild.report.text.columns import columns, framed, ruled

ROWS = [("name", "n", "why"), ("a", "10", ""), ("long", "9", "x")]


def test_bare() -> None:
    assert columns(ROWS, right=(1,)) == ["name   n  why", "a     10", "long   9  x"]


def test_framed() -> None:
    assert framed(ROWS, right=(1,)) == [
        "+------+----+-----+",
        "| name |  n | why |",
        "+------+----+-----+",
        "| a    | 10 |     |",
        "| long |  9 | x   |",
        "+------+----+-----+",
    ]


def test_ruled() -> None:
    assert ruled(ROWS, right=(1,), red={2}) == [
        "\x1b[1m name    n   why\x1b[0m",
        " ───────────────",
        " a      10",
        "\x1b[31m long    9   x\x1b[0m",
    ]


def test_rows_of_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        columns([("a", "b"), ("c",)])
