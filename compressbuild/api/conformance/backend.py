"""The contract of a backend: it compiles as a technique does, and runs what it compiled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from ..needs import Needs
from ..params import Params
from ..work import WorkInput
from . import checks
from .contract import Pair, ParameterContract, require
from .plugin import registry
from .running import RunnerContract, artifact
from .technique import RunContract

__all__ = ["BackendContract"]


class BackendContract(RunContract, ParameterContract, RunnerContract):
    """What a backend owes. Name it, and give it a small model to compile::

    class TestReference(BackendContract):
        backend = "onnx-reference"
        settings = {"verbose": 0}

        def subject(self, place):
            return onnx_artifact(place)
    """

    what = "backend"
    backend: ClassVar[str] = ""
    settings: ClassVar[Mapping[str, Any] | Params] = {}

    @property
    def given(self) -> Mapping[str, Any] | Params:
        return self.settings

    def needs(self) -> tuple[Needs, ...]:
        typed = msgspec.convert(self.values(), self.params_type)
        return (self.stack_needs, self.record.compile_needs, typed.needs())

    def _compiled(self, ran: Pair) -> WorkInput:
        checks.check_succeeded(ran.first)
        return artifact(ran.first.out, self.made_kind, backend=self.name, settings=self.values())

    def _runs_here(self) -> None:
        require(self.record.run_needs, msgspec.convert(self.values(), self.params_type).run_needs())

    def test_its_runner_keeps_the_protocol(self, ran: Pair, tmp_path: Path) -> None:
        self._runs_here()
        self.try_runner(tmp_path, self._compiled(ran))

    def test_damage_is_noticed(self, ran: Pair, tmp_path: Path) -> None:
        self._runs_here()
        self.try_damage(tmp_path, self._compiled(ran), registry().kinds.get(self.made_kind), loads=True)
