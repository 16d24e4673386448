"""``make soak``: the long forms of the sweeps, file by file, and one table: test, tried, failed, seed.

Each file of tests has a process of its own, so one that crashes, hangs or runs out of memory costs its own row.
With a bound, a file gets its share by the functions that it has, not by their cases: a product of 560 models and
techniques would leave nothing to a sweep. It then runs its cases in a random order, and the table counts them.

    CBUILD_SOAK_MINUTES=60 python tools/soak.py              all files within an hour, each sweep shorter if need be
    CBUILD_TRIES=200 python tools/soak.py tests/faults       the sweeps of a directory, each with 200 cases
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HANG = 6 * 3600.0  # seconds for a file without a budget
GRACE = 900.0  # seconds that a file may take beyond its share, as the last case of a sweep is finished
TIME_IS_OVER = "the time of this file is over"
HEAD = ("test", "tried", "failed", "seed")
Row = tuple[str, str, str, str]


def collected(places: list[str]) -> dict[str, Counter[str]]:
    """File → long test → its cases, in pytest's order."""
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-o", "addopts=", *places],
        cwd=ROOT, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if listing.returncode not in (0, 5):
        sys.exit(f"the tests cannot be collected:\n{listing.stdout[-3000:]}{listing.stderr[-3000:]}")
    files: dict[str, Counter[str]] = {}
    for line in listing.stdout.splitlines():
        file, _, case = line.partition("::")
        if file.endswith(".py") and case:
            files.setdefault(file, Counter())[case.partition("[")[0]] += 1
    return files


def rows(file: str, report: Path) -> list[Row]:
    """A row for each sweep; the other long tests of the file share one, with those that its time did not reach."""
    found, plain = [], Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        said = {each.get("name"): each.get("value") or "" for each in case.iter("property")}
        bad = case.find("failure") is not None or case.find("error") is not None
        if "tried" in said:
            failed = said.get("failed", "0")
            found.append(
                (
                    f"{file}::{case.get('name')}",
                    said["tried"],
                    str(max(int(failed), bad)),
                    said.get("seed", "every case"),
                )
            )
        elif (skipped := case.find("skipped")) is None:
            plain["tried"] += 1
            plain["failed"] += bad
        elif TIME_IS_OVER in (skipped.get("message") or ""):
            plain["left"] += 1
    if plain:
        tried, left = plain["tried"], plain["left"]
        said = f"{tried} of {tried + left}" if left else str(tried)
        found.append((file, said, str(plain["failed"]), "by chance" if left else "every case"))
    return found


def soak(file: str, seconds: float | None, cases: int) -> list[Row]:
    """Run the long tests of a file. What it prints is shown if something fails."""
    environment = {**os.environ, "CBUILD_SOAK": "1"}
    if seconds is not None:
        environment["CBUILD_SWEEP_SECONDS"] = f"{seconds / cases:.1f}"
        environment["CBUILD_FILE_SECONDS"] = f"{seconds:.1f}"
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        report = Path(place, "report.xml")
        command = [sys.executable, "-m", "pytest", "-m", "slow", "-p", "no:cacheprovider", f"--junitxml={report}", file]
        command += [f"--basetemp={place}/tests"]
        try:
            ran = subprocess.run(
                command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False, errors="replace",
                timeout=HANG if seconds is None else seconds + GRACE,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return [(f"{file}: stopped, it took too long", "?", "1", "-")]
        if ran.returncode not in (0, 5):
            print(ran.stdout[-6000:], ran.stderr[-2000:], flush=True)
        if not report.exists():
            return [(f"{file}: ended without a report (exit {ran.returncode})", "?", "1", "-")]
        return rows(file, report)


def table(found: list[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(HEAD, *found, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (HEAD, *found)]
    return "\n".join(line.rstrip() for line in lines)


def main(places: list[str]) -> int:
    budget = os.environ.get("CBUILD_SOAK_MINUTES")
    end = time.monotonic() + 60 * float(budget) if budget else None
    files = collected(places or ["tests"])
    left = sum(map(len, files.values()))
    found: list[Row] = []
    try:
        for file, tests in files.items():
            share = None if end is None else max(1.0, (end - time.monotonic()) * len(tests) / left)
            left -= len(tests)
            new = soak(file, share, tests.total())
            print("\n".join("  ".join(row) for row in new), flush=True)
            found += new
    finally:  # Ctrl-C, too, shows what was tried
        print()
        print(table(found))
    return int(any(row[2] != "0" for row in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
