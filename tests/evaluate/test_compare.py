"""Two targets, and two logs, on the same samples."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressbuild.errors import UsageError
from compressbuild.evaluate.compare import (
    Comparison,
    Row,
    compare_quality,
    compare_speed,
    direct_speed,
    hits,
    judged_row,
    paired_speed,
    row,
    timed_row,
)
from compressbuild.evaluate.logs import compare_logs
from compressbuild.report.text.comparison import comparison_lines


def test_the_bitmap_is_that_of_top1() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 7, 8, 9, 500):
        right = rng.random(n) < 0.7
        result = {"n": n, "hits": base64.b64encode(np.packbits(right).tobytes()).decode()}
        assert hits(result) == right.tolist()
    assert hits({"value": 1.0}) is None
    with pytest.raises(ValueError, match="cannot be the hits of 500"):
        hits({"n": 500, "hits": "AAAA"})


def test_flipped_samples_and_the_verdict() -> None:
    first, second = [True] * 60 + [False] * 40, [True] * 50 + [False] * 10 + [True, *[False] * 39]
    found = compare_quality("top1", first, second)
    assert (found.first, found.second) == (0.6, 0.51)
    assert found.lost == tuple(range(50, 60))
    assert found.won == (60,)
    assert found.difference == pytest.approx(-0.09)
    assert found.low < -0.09 < found.high < 0
    assert found.verdict == "worse"
    assert compare_quality("top1", second, first).verdict == "better"
    assert compare_quality("top1", first, first).verdict == "no difference shown"


def test_samples_that_do_not_pair() -> None:
    with pytest.raises(ValueError, match="2 and 1 samples"):
        compare_quality("top1", [True, True], [True])


def test_the_same_verdict_from_noisy_repeats() -> None:
    """A true ratio of 0.9 with 5 % noise on each of 60 requests; and none."""
    rng = np.random.default_rng(7)

    def verdict(ratio: float) -> str:
        base = rng.lognormal(0, 0.5, 60)
        noise = rng.lognormal(0, 0.05, (2, 60))
        return paired_speed("latency", (base * noise[0]).tolist(), (base * ratio * noise[1]).tolist()).verdict

    assert sum(verdict(0.9) == "faster" for _ in range(20)) >= 19
    assert sum(verdict(1.0) == "no difference shown" for _ in range(40)) >= 35


def timing(value: float, ratio: float, spread: float = 0.02) -> dict[str, float]:
    return {"value": value, "ratio": ratio, "ratio_low": ratio * (1 - spread), "ratio_high": ratio * (1 + spread)}


def test_latency_through_a_common_baseline() -> None:
    found = compare_speed("latency", timing(5, 0.5), timing(4, 0.4), "big")
    assert found is not None
    assert (found.ratio, found.verdict) == (pytest.approx(0.8), "faster")
    assert compare_speed("latency", timing(5, 0.5, 0.3), timing(4, 0.4, 0.3), "big").verdict == "no difference shown"  # type: ignore[union-attr]
    assert compare_speed("latency", {"value": 5}, timing(4, 0.4), "big") is None


def test_latency_measured_in_turns() -> None:
    found = direct_speed("latency", {**timing(8, 1.5), "baseline": {"value": 5.3}})
    assert found is not None
    assert (found.first, found.second, found.verdict) == (5.3, 8, "slower")
    assert direct_speed("latency", {"value": 8, "baseline": {"error": "gone"}}) is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.985, 0.995, "no difference shown"),
        (1.001, 1.02, "no difference shown"),
        (0.95, 0.985, "faster"),
        (1.02, 1.1, "slower"),
    ],
)
def test_what_a_second_load_of_the_same_file_would_differ_by_is_no_difference(low: float, high: float, verdict: str):
    result = {"value": 1.0, "ratio": (low + high) / 2, "ratio_low": low, "ratio_high": high}
    found = direct_speed("latency", {**result, "baseline": {"value": 1.0}})
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("direction", "a", "b", "better"),
    [("lower", 2, 1, True), ("higher", 2, 1, False), ("none", 2, 1, None), ("lower", 2, 2, None)],
)
def test_which_is_better(direction: str, a: float, b: float, better: bool | None) -> None:
    assert row("m", "", direction, {"value": a}, {"value": b}).better is better


def test_a_metric_that_one_lacks() -> None:
    found = Comparison(first="a", second="b", rows=(row("m", "ms", "lower", {"value": 3.0}, None),))
    assert [line.split() for line in comparison_lines(found)][-1] == ["m", "3", "ms", "–"]


def timed(low: float, high: float) -> Row:
    """A latency whose second value happened to be lower, alternately with these ends of the ratio's interval."""
    speed = direct_speed(
        "latency", {**timing(1.04, 1.04), "ratio_low": low, "ratio_high": high, "baseline": {"value": 1}}
    )
    return timed_row(row("latency", "ms", "lower", {"value": 9}, {"value": 5}), speed)


def test_better_only_if_the_interval_says_so() -> None:
    found = timed(0.72, 1.49)
    assert (found.better, found.ratio, found.low, found.high) == (None, 1.04, 0.72, 1.49)
    assert timed(1.02, 1.06).better is False
    lines = list(comparison_lines(Comparison(first="a", second="b", rows=(found,))))
    assert lines[-1].split() == ["latency", "9", "ms", "5", "ms", "×1.04", "[0.72–1.49]"]


def test_times_of_different_moments_are_not_compared() -> None:
    plain = row("load-time", "ms", "lower", {"value": 9}, {"value": 5})
    assert plain.better is True
    alone = timed_row(plain, None)
    assert (alone.first, alone.second, alone.ratio, alone.better) == (9, 5, None, None)
    other = direct_speed("latency", {**timing(1, 0.5), "baseline": {"value": 2}})
    assert timed_row(plain, other) == alone


def test_quality_is_better_only_if_the_samples_show_it() -> None:
    plain = row("top1", "", "higher", {"value": 0.97}, {"value": 0.96})
    alike = compare_quality("top1", [True] * 97 + [False] * 3, [True] * 96 + [False] * 4)
    assert (plain.better, judged_row(plain, alike).better) == (False, None)
    worse = compare_quality("top1", [True] * 97 + [False] * 3, [True] * 50 + [False] * 50)
    assert judged_row(plain, worse).better is False
    assert judged_row(row("f1", "", "higher", {"value": 1}, {"value": 2}), alike).better is True


def log(path: Path, *entries: Any) -> Path:
    path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in entries))
    return path


def test_logs_are_paired_by_id(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    right = rng.random((2, 300)) < [[0.95], [0.7]]
    times = rng.lognormal(3, 0.3, 300)
    sides = []
    for which, factor in ((0, 1.0), (1, 0.5)):
        entries = [
            {"id": f"r{i}", "correct": bool(right[which, i]), "latency": factor * times[i], "model": "x"}
            for i in rng.permutation(300)
        ]
        sides.append(log(tmp_path / f"{which}.jsonl", *entries, {"id": f"only-{which}", "correct": True}))
    found = compare_logs(*sides)
    assert found.quality is not None
    assert found.speed is not None
    assert (found.quality.n, found.quality.first) == (300, pytest.approx(right[0].mean()))
    assert set(found.quality.lost) == {f"r{i}" for i in np.flatnonzero(right[0] & ~right[1])}
    assert found.quality.verdict == "worse"
    assert (found.speed.ratio, found.speed.verdict) == (pytest.approx(0.5), "faster")
    assert found.missing == {"requests": "2 of 302 ids are in one log only, and left out"}
    assert next(iter(comparison_lines(found))).endswith("worse, faster")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "a.jsonl:2: "),
        ('{"correct": true}', "a.jsonl:2: .*`id`"),
        ('{"id": 2, "correct": "yes"}', "a.jsonl:2: .*correct"),
        ('{"id": 2, "correct": 7}', "a.jsonl:2: 'correct' is 7"),
        ('{"id": 2, "latency": 0}', "a.jsonl:2: 'latency' is 0"),
        ('{"id": 1}', "a.jsonl:2: the id 1 occurs twice"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    bad = log(tmp_path / "a.jsonl", {"id": 1, "correct": True}, line)
    with pytest.raises(UsageError, match=said):
        compare_logs(bad, log(tmp_path / "b.jsonl", {"id": 1, "correct": True}))


def test_a_log_that_could_be_waited_for_is_refused(tmp_path: Path) -> None:
    """A pipe that nobody writes to, a device, a directory. One that the shell opened is read."""
    sound = log(tmp_path / "b.jsonl", {"id": 1, "correct": True})
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match=f"cannot read {path}: "):
            compare_logs(path, sound)
    (tmp_path / "link").symlink_to(sound)
    reading, writing = os.pipe()
    threading.Timer(0.2, lambda: (os.write(writing, sound.read_bytes()), os.close(writing))).start()
    assert compare_logs(tmp_path / "link", Path(f"/dev/fd/{reading}")).missing.keys() == {"speed"}
    os.close(reading)


def test_logs_with_nothing_in_common(tmp_path: Path) -> None:
    a, b = log(tmp_path / "a", {"id": 1}), log(tmp_path / "b", {"id": 2})
    with pytest.raises(UsageError, match="no id in common"):
        compare_logs(a, b)
    with pytest.raises(UsageError, match="is empty"):
        compare_logs(a, log(tmp_path / "c"))
    with pytest.raises(UsageError, match="cannot read"):
        compare_logs(a, tmp_path / "nowhere")
    found = compare_logs(a, log(tmp_path / "d", {"id": 1, "latency": 3}))
    assert set(found.missing) == {"quality", "speed"}
