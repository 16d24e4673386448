"""Timing of whole processes against each other: interleaved, so that a noisy machine is noisy for all of them alike."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SUPPORT = REPO / "tests" / "support"
CBUILD = str(Path(sys.executable).with_name("cbuild"))


@dataclass(frozen=True)
class Timing:
    """``median`` and ``best``: seconds. ``ratio``: the median over rounds of this command's time to the first one's in
    the same round."""

    median: float
    best: float
    ratio: float


@dataclass(frozen=True)
class Command:
    words: Sequence[str]
    cwd: Path | None = None
    env: Mapping[str, str] | None = None


def environment(**more: str) -> dict[str, str]:
    """Of commands with the toy plugin."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CBUILD")}
    path = [str(SUPPORT), str(SUPPORT / "site"), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(path)} | more


def run(command: Command) -> float:
    began = time.perf_counter()
    done = subprocess.run(command.words, cwd=command.cwd, env=command.env, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command.words)}: exit {done.returncode}\n{(done.stdout + done.stderr).decode()}")
    return seconds


def interleaved(commands: Mapping[str, Command], rounds: int) -> dict[str, Timing]:
    """Run all commands ``rounds`` times, A B C A B C …, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            seconds = run(command)
            if number:
                times[name].append(seconds)
    base = times[next(iter(commands))]
    return {
        name: Timing(
            statistics.median(took), min(took), statistics.median(a / b for a, b in zip(took, base, strict=True))
        )
        for name, took in times.items()
    }


def exponent(points: Mapping[int, float], floor: float = 0.0) -> float | None:
    """Fit seconds ≈ floor + c · N^k and return k, by least squares on the logarithms.

    ``points``: seconds by N, of which those count that are twice the floor or more. None where fewer than two do."""
    counted = {size: took - floor for size, took in points.items() if took >= 2 * floor}
    if len(counted) < 2:
        return None
    seconds = [math.log(took) for took in counted.values()]
    return statistics.linear_regression([math.log(size) for size in counted], seconds).slope


def show(title: str, found: Mapping[str, Timing]) -> None:
    print(f"\n{title}")
    width = max(map(len, found))
    for name, timing in found.items():
        print(f"  {name:{width}}  {timing.median * 1000:9.1f} ms   ×{timing.ratio:.2f}")


def rates(title: str, rows: Mapping[str, str]) -> None:
    print(f"\n{title}")
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"  {name:{width}}  {text}")
