"""What is owed by whatever can be loaded and run: backends' artifacts and kinds with a reference runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from ..records import Kind
from ..work import WorkInput
from . import checks
from .bench import Ran
from .contract import Contract
from .plugin import record, registry

__all__ = ["RunnerContract", "artifact", "counted"]

_CENSUS = "compressbuild.api.conformance.exercise:census"
_RUNNER = "compressbuild.api.conformance.exercise:runner"
_DAMAGE = "compressbuild.api.conformance.exercise:damage"


def artifact(
    path: Path, kind: str, *, backend: str | None = None, settings: Mapping[str, Any] | None = None
) -> WorkInput:
    """An artifact with what loads it: its kind's reference runtime, or ``backend`` with its ``settings``."""
    if backend is None:
        found = registry().kinds.get(kind)
        return WorkInput(path=str(path), kind=kind, load=found.load if found is not None else None)
    made = record("backend", backend)
    return WorkInput(
        path=str(path),
        kind=made.produces,
        load=made.load,
        settings=dict(settings or {}),
        settings_type=f"{made.settings.__module__}:{made.settings.__qualname__}",
    )


def counted(entry: WorkInput) -> WorkInput:
    """An artifact with its kind's census, for a metric that counts."""
    found = registry().kinds.get(entry.kind)
    return msgspec.structs.replace(entry, census=found.census if found is not None else None)


class RunnerContract(Contract):
    """``feeds``: ``module:function`` that makes arrays for a Runner's ``inputs``. ``exempt``: patterns of files whose
    content nothing depends on; ``raw``: of plain numbers, in which a flipped byte cannot be seen. ``repeatable``:
    whether one input gives the same values each time."""

    feeds: ClassVar[str] = "cbuild_kit:example_arrays"
    exempt: ClassVar[tuple[str, ...]] = ()
    raw: ClassVar[tuple[str, ...]] = ()
    repeatable: ClassVar[bool] = True

    def try_runner(self, place: Path, loaded: WorkInput) -> None:
        """Its interface, its description, its answers, and that it refuses arrays that do not fit."""
        params = {"feeds": self.feeds, "repeatable": self.repeatable}
        ran = self._exercise(_RUNNER, place, loaded, params)
        _no_problem(ran)
        checks.check_covered_reads(ran)
        checks.check_nothing_outside(ran)

    def try_census(self, place: Path, loaded: WorkInput) -> None:
        """Its weights, its arithmetic and its traffic are there, and of the right types."""
        ran = self._exercise(_CENSUS, place, counted(loaded), {})
        _no_problem(ran)
        checks.check_covered_reads(ran)
        checks.check_nothing_outside(ran)

    def try_damage(self, place: Path, loaded: WorkInput, kind: Kind | None, *, loads: bool) -> None:
        validate = kind.validate if kind is not None else None
        assert validate is not None or loads, (
            f"nothing notices a damaged artifact of kind '{loaded.kind}': give the kind a 'validate'"
        )
        params = {"validate": validate, "loads": loads, "exempt": list(self.exempt), "raw": list(self.raw)}
        _no_problem(self._exercise(_DAMAGE, place, loaded, params))

    def _exercise(self, function: str, place: Path, loaded: WorkInput, params: Mapping[str, Any]) -> Ran:
        request = self.request(place, loaded, params)
        return self.run(place, msgspec.structs.replace(request, params_type=None), run=function)


def _no_problem(ran: Ran) -> None:
    if ran.cause not in ("ok", "raised"):
        last = [line for line in ran.log.splitlines() if line.startswith("conformance: ")][-1:]
        where = f" ({last[0].removeprefix('conformance: ')})" if last else ""
        raise AssertionError(f"its process ends, {ran.cause}{where}: {ran.error}")
    checks.check_succeeded(ran)
    for topic, sentence in ran.result.facts["problems"].items():
        raise AssertionError(f"{topic}: {sentence}")
