from __future__ import annotations

import re

import pytest

from compressbuild.words import DURATION, SIZE, duration, memory, number, parsed_duration, parsed_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("10m", 600), ("2 h", 7200), ("250ms", 0.25), ("1d", 86400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parsed_duration(text) == seconds
    assert re.search(DURATION.pattern, text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4096", 4096),
        ("512MiB", 2**29),
        ("4GiB", 2**32),
        ("500MB", 5 * 10**8),
        ("1.5 KiB", 1536),
        ("16gib", 2**34),
        ("16 G", 16 * 10**9),
        ("2ti", 2**41),
        (" 7B ", 7),
        ("3kb", 3000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parsed_size(text) == count
    assert re.search(SIZE.pattern, text)


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "1 week", "1e3", "10 m in", "١s", "9" * 30 + "h", "4GiB"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        parsed_duration(text)


@pytest.mark.parametrize("text", ["", "4 gigs", "-1", "0MiB", "10ms", "4i", "4iB", "1e3", "3 Mib its"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        parsed_size(text)


def test_numbers_count_in_the_base_unit() -> None:
    assert DURATION.parse(90) == 90
    assert SIZE.parse(1.5) == 1.5
    assert DURATION.parse(0) is None


@pytest.mark.parametrize(
    ("count", "shown"), [(512, "512 bytes"), (2**29, "512 MiB"), (3 * 2**29, "1.5 GiB"), (2**41, "2 TiB")]
)
def test_memory(count: int, shown: str) -> None:
    assert memory(count) == shown
    assert count == 512 or parsed_size(shown) == count, "what is shown can be written"


def test_what_is_shown_as_a_size_can_be_written_as_one() -> None:
    for count in (1, 999, 1500, 2_500_000, 3_100_000_000):
        assert parsed_size(number(count, "B")) == count
    assert duration(42) == "42 s"
    assert parsed_duration(duration(42)) == 42
