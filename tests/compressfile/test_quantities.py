from __future__ import annotations

import re

import pytest

from compressbuild.compressfile.quantities import DURATION, SIZE, duration, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("10m", 600), ("2 h", 7200), ("250ms", 0.25), ("1d", 86400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds
    assert re.search(DURATION.pattern, text)


@pytest.mark.parametrize(
    ("text", "count"), [("4096", 4096), ("512MiB", 2**29), ("4GiB", 2**32), ("500MB", 5 * 10**8), ("1.5 KiB", 1536)]
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count
    assert re.search(SIZE.pattern, text)


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "1 week", "1e3", "10 m in", "١s", "9" * 30 + "h", "4GiB"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        duration(text)


@pytest.mark.parametrize("text", ["", "4 gigs", "-1", "0MiB", "4gib", "10m"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        size(text)


def test_numbers_count_in_the_base_unit() -> None:
    assert DURATION.parse(90) == 90
    assert SIZE.parse(1.5) == 1.5
    assert DURATION.parse(0) is None
