"""The last line of a build says what was done."""

from __future__ import annotations

import pytest

from compressbuild.build.outcome import BuildReport, TargetReport
from compressbuild.evaluate.gates import Verdict
from compressbuild.report.text.table import summary
from compressbuild.words import number


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"built": 3, "cached": 2}, "(3 run, 2 cached)"),
        ({"cached": 2}, "(nothing to do, 2 nodes cached)"),
        ({"failed": 1, "cached": 2, "skipped": 4}, "(1 failed, 2 cached)"),
        ({"built": 1, "failed": 2}, "(1 run, 2 failed, 0 cached)"),
    ],
)
def test_what_was_done_is_counted(counts: dict[str, int], said: str) -> None:
    report = BuildReport(targets=(TargetReport(name="a", status="published"),), counts=counts, exit_code=0)
    assert summary(report) == f"1 of 1 targets up to date {said}\n"


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (12345, "B", "12.3 kB"), (999, "B", "999 B"), (0.97331, "", "0.9733"), (1.8444, "ms", "1.844 ms"),
        (67230.4, "/s", "67230 /s"), (9999.6, "", "10000"), (117234, "/s", "117.2 k/s"), (41_000_000, "", "41.0 M"),
        (38058, "", "38058"), (float("inf"), "ms", "inf"), (float("nan"), "", "nan"),
    ],
)  # fmt: skip
def test_numbers_for_people(value: float, unit: str, said: str) -> None:
    assert number(value, unit) == said


def test_every_limit_that_was_missed_has_a_row() -> None:
    met = Verdict(metric="size", limit="max", bound=9.0, verdict="pass", ok=True, value=1.0, margin=8.0)
    slow = Verdict(
        metric="latency", limit="max-ratio", bound=0.9, verdict="inconclusive", ok=False, value=0.91, low=0.88,
        high=0.95, margin=-0.01, against="cpu-fp32", reason="the machine was busy",
    )  # fmt: skip
    unknown = Verdict(metric="top1", limit="min", bound=0.5, verdict="unmeasured", ok=False, reason="no GPU")
    targets = (
        TargetReport(name="a", status="gate failed", verdicts=(met, slow)),
        TargetReport(name="second", status="gate failed", verdicts=(unknown,)),
    )
    table = summary(BuildReport(targets=targets, counts={"built": 1}, exit_code=3)).splitlines()[-4:-1]
    assert table == [
        "target  gate                                got               off by  verdict",
        "a       latency: max-ratio 0.9 of cpu-fp32  0.91 [0.88–0.95]    0.01  inconclusive  the machine was busy",
        "second  top1: min 0.5                       –                      –  unmeasured    no GPU",
    ]
