"""The contract of a technique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..work import WorkInput, WorkRequest
from . import checks
from .contract import Contract, Pair, ParameterContract, code_of, input_of, must_run, require
from .plugin import registry, uncovered

__all__ = ["RunContract", "TechniqueContract"]


class RunContract(Contract):
    """Of a function that turns a subject into an artifact: techniques, and the compilers of backends.

    ``unfit_params``: parameters that are well-formed, and that this subject cannot be given. ``twice``: whether one
    process does the work twice, which shows state that is kept; without, a slow function is spared a third run.
    """

    unfit_params: ClassVar[Iterable[Mapping[str, Any]]] = ()
    twice: ClassVar[bool] = True

    def unfit(self, place: Path) -> Iterable[Path | WorkInput]:
        """Artifacts of the right kind that it cannot take, each made in a directory of its own below ``place``."""
        return ()

    @property
    def subject_kind(self) -> str:
        return self.record.consumes[0] if self.record.consumes else ""

    @property
    def made_kind(self) -> str:
        return self.record.produces or self.subject_kind

    def order(self, place: Path, subject: Path | WorkInput, params: Mapping[str, Any]) -> WorkRequest:
        kind = registry().kinds.get(self.made_kind)
        entry = input_of(subject, self.subject_kind)
        validate = kind.validate if kind is not None else None
        return self.request(place, entry, params, validate=validate, **self.typed)

    def run_both(self, places: list[Path]) -> Pair:
        subject = self.subject(places[0])
        first = self.run(places[1], self.order(places[1], subject, self.values()))
        if self.record.nondeterministic:
            return Pair(first, first)
        second = self.order(places[2], subject, self.values())
        return Pair(first, self.run(places[2], second, world=1, twice=self.twice))

    def test_it_runs(self, ran: Pair) -> None:
        checks.check_succeeded(ran.first)
        checks.check_facts(ran.first.result.facts, ran.first)

    def test_output_is_an_artifact(self, ran: Pair) -> None:
        must_run(ran)
        kind = registry().kinds.get(self.made_kind)
        checks.check_files(ran.first, kind.files if kind is not None else ("*",), self.made_kind)
        checks.check_no_pickle(ran.first.out)

    def test_two_runs_give_the_same_bytes(self, ran: Pair) -> None:
        must_run(ran)
        checks.check_succeeded(ran.second)
        if self.record.nondeterministic:
            pytest.skip(f"declared nondeterministic: {self.record.nondeterministic}")
        checks.check_same(ran.first, ran.second, ran.second.again)
        if self.twice:
            checks.check_stateless(ran.second)

    def test_it_reads_what_its_key_covers(self, ran: Pair) -> None:
        must_run(ran)
        checks.check_covered_reads(ran.first)
        hidden = uncovered(code_of(self), ran.first.report.modules)
        assert not hidden, (
            f"it imports {hidden[0]} by a computed name, which its key cannot cover: write the import out"
        )

    def test_it_writes_into_its_output_alone(self, ran: Pair) -> None:
        checks.check_nothing_outside(ran.first)

    def test_it_refuses_what_it_cannot_take(self, tmp_path: Path) -> None:
        require(*self.needs())
        cases = [(f"the subject {path}", path, self.values()) for path in self.unfit(tmp_path / "unfit")]
        if self.unfit_params:
            place = tmp_path / "good"
            place.mkdir()
            good = self.subject(place)
            cases += [(f"{params}", good, {**self.values(), **params}) for params in self.unfit_params]
        if not cases:
            pytest.skip("nothing unfit is given: unfit() or unfit_params")
        for number, (what, subject, params) in enumerate(cases):
            place = tmp_path / f"case{number}"
            checks.check_refusal(self.run(place, self.order(place, subject, params)), what)


class TechniqueContract(RunContract, ParameterContract):
    """What a technique owes. Name it, and give it a small subject::

    class TestThreshold(TechniqueContract):
        technique = "prune.threshold"
        params = {"threshold": 0.01}
        refuses = ({"threshold": -1},)

        def subject(self, place):
            return onnx_artifact(place)
    """

    what = "technique"
    technique: ClassVar[str] = ""
