"""The contract of a metric."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest

from ..records import RunMetric
from ..rows import FORM, rows_fault
from ..work import WorkInput, WorkRequest
from . import checks
from .bench import Ran
from .contract import Pair, ParameterContract, code_of, input_of, must_run, require
from .plugin import uncovered
from .running import counted

__all__ = ["MetricContract"]


class MetricContract(ParameterContract):
    """What a metric owes. Name it, and give it a small subject::

    class TestZeros(MetricContract):
        metric = "zeros"

        def subject(self, place):
            return onnx_artifact(place)

    A metric that runs its subject is given one with what loads it: ``artifact(path, "onnx")``. ``kind``: of a subject
    that is a path.
    """

    what = "metric"
    metric: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    def unfit(self, place: Path) -> Iterable[Path | WorkInput]:
        """Subjects of the right kind that it cannot measure, each made in a directory of its own below ``place``."""
        return ()

    def order(self, place: Path, subject: Path | WorkInput) -> WorkRequest:
        kind = self.kind or next(iter(getattr(self.record, "kinds", ())), "")
        entry = input_of(subject, kind)
        if getattr(self.record, "census", False) and not isinstance(self.record, RunMetric):
            entry = counted(entry)
        return self.request(place, entry, self.values(), save_json="metrics.json", **self.typed)

    @property
    def _measures(self) -> bool:
        """Two results of it may differ."""
        return isinstance(self.record, RunMetric) and self.record.exclusive

    def run_both(self, places: list[Path]) -> Pair:
        subject = self.subject(places[0])
        return Pair(
            self.run(places[1], self.order(places[1], subject)),
            self.run(places[2], self.order(places[2], subject), world=1, twice=not self._measures),
        )

    def test_it_gives_a_number(self, ran: Pair) -> None:
        checks.check_succeeded(ran.first)
        checks.check_facts(ran.first.result.facts, ran.first)
        value = ran.first.result.facts.get("value")
        assert "value" in ran.first.result.facts, "it must return {'value': number}; it returned no 'value'"
        assert type(value) in (int, float), f"its 'value' is {value!r}, which is not a number"
        assert math.isfinite(value or 0), f"its 'value' is {value}: raise UserError where there is nothing to measure"

    def test_its_rows_can_be_read(self, ran: Pair) -> None:
        must_run(ran)
        facts = ran.first.result.facts
        if "per_class" not in facts:
            assert not self.record.per_class, f"its record says per_class=True; it returned no 'per_class'. {FORM}"
            pytest.skip("it returns no 'per_class'")
        fault = rows_fault(facts["per_class"])
        assert fault is None, f"it returned {fault}: {FORM}"

    def test_it_says_which_way_is_better(self) -> None:
        assert self.record.direction in ("lower", "higher", "none")
        assert self.record.summary, "its record has no summary: one line that says what the number is"

    def test_two_runs_agree(self, ran: Pair) -> None:
        must_run(ran)
        checks.check_succeeded(ran.second)
        if self._measures:
            pytest.skip("it is a measurement: two results may differ")
        first, second = ran.first.result.facts, ran.second.result.facts
        differ = [name for name in {*first, *second} if first.get(name) != second.get(name)]
        assert not differ, f"two runs gave other values of '{sorted(differ)[0]}': take randomness from ctx.seed"

    def test_it_reads_what_its_key_covers(self, ran: Pair) -> None:
        must_run(ran)
        checks.check_covered_reads(ran.first)
        loaders = [each.load for each in ran.first.request.inputs.values() if each.load]  # they count by themselves
        hidden = uncovered((*code_of(self), *loaders), ran.first.report.modules)
        assert not hidden, f"it imports {hidden[0]} by a computed name, which its key cannot cover"

    def test_it_writes_nothing_elsewhere(self, ran: Pair) -> None:
        checks.check_nothing_outside(ran.first)
        checks.check_no_pickle(ran.first.out)

    def test_it_refuses_what_it_cannot_measure(self, tmp_path: Path) -> None:
        require(*self.needs())
        subjects = list(self.unfit(tmp_path / "unfit"))
        if not subjects:
            pytest.skip("nothing unfit is given: unfit()")
        for number, subject in enumerate(subjects):
            place = tmp_path / f"case{number}"
            ran: Ran = self.run(place, self.order(place, subject))
            checks.check_refusal(ran, f"the subject {subject}")
