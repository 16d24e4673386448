"""The contract of a kind of artifact."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..needs import Needs
from . import checks
from .bench import Ran
from .contract import input_of, require
from .plugin import uncovered
from .running import RunnerContract, artifact

__all__ = ["KindContract"]

_VALIDATE = "compressbuild.api.conformance.exercise:copy"


class KindContract(RunnerContract):
    """What a kind owes. Name it, and give it an artifact of the kind::

    class TestReferenceModel(KindContract):
        kind = "reference-model"

        def subject(self, place):
            return onnx_artifact(place)

    ``source``: parameters of ``init``, for a kind that is made from a model factory; it replaces ``subject``.
    """

    what = "kind"
    kind: ClassVar[str] = ""
    source: ClassVar[Mapping[str, Any] | None] = None

    def needs(self) -> tuple[Needs, ...]:
        return (self.stack_needs, self.record.needs)

    def _artifact(self, place: Path) -> Path:
        """A good artifact: what ``init`` makes of ``source``, or ``subject``."""
        if self.source is None:
            return Path(input_of(self.subject(place), self.name).path)
        return self._init(place, 0).out

    def _init(self, place: Path, world: int) -> Ran:
        assert self.record.init is not None, f"kind '{self.name}' has no 'init': leave 'source' out"
        request = self.request(place / "init", None, self.source or {})
        ran = self.run(place, request, run=self.record.init, owner=self.record.init, world=world)
        checks.check_succeeded(ran)
        return ran

    def test_a_good_artifact_is_valid(self, tmp_path: Path) -> None:
        require(*self.needs())
        good = self._artifact(tmp_path / "good")
        for pattern in self.record.files:
            assert any(good.glob(pattern)), f"the artifact has no file matching '{pattern}', which its kind requires"
        checks.check_no_pickle(good)
        request = self.request(tmp_path / "node", artifact(good, self.name), {}, validate=self.record.validate)
        ran = self.run(tmp_path / "node", request, run=_VALIDATE)
        checks.check_succeeded(ran)
        checks.check_nothing_outside(ran)

    def test_damage_is_noticed(self, tmp_path: Path) -> None:
        require(*self.needs())
        good = artifact(self._artifact(tmp_path / "good"), self.name)
        self.try_damage(tmp_path / "node", good, self.record, loads=self.record.load is not None)

    def test_its_runner_keeps_the_protocol(self, tmp_path: Path) -> None:
        if self.record.load is None:
            pytest.skip("it has no reference runtime")
        require(*self.needs())
        self.try_runner(tmp_path / "node", artifact(self._artifact(tmp_path / "good"), self.name))

    def test_a_file_of_a_user_is_one(self) -> None:
        """``models: {net: {file: net.onnx}}`` makes an artifact that holds this file alone, under its own name."""
        if not self.record.suffixes:
            pytest.skip("no model source is a file of it")
        for suffix, pattern in itertools.product(self.record.suffixes, self.record.files):
            assert fnmatch(f"net{suffix}", pattern), (
                f"a model source net{suffix} keeps its name, which its kind's files '{pattern}' does not match: "
                f"write '*{suffix}'"
            )

    def test_it_counts_itself(self, tmp_path: Path) -> None:
        if self.record.census is None:
            pytest.skip("it has no census")
        require(*self.needs())
        self.try_census(tmp_path / "node", artifact(self._artifact(tmp_path / "good"), self.name))

    def test_init_gives_the_same_bytes(self, tmp_path: Path) -> None:
        if self.source is None:
            pytest.skip("it is made from no source here")
        first, second = (self._init(tmp_path / str(world), world) for world in (0, 1))
        checks.check_same(first, second)
        checks.check_covered_reads(first)
        checks.check_nothing_outside(first)
        assert not uncovered([self.record.init], first.report.modules), "init imports code that its key cannot cover"
