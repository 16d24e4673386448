"""All checks, the engine's own and those of plugins, put to each target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ..api.advice import Advice, Seen
from ..api.records import Check
from ..registry.asked import resolved
from .own import build_failed, no_difference, which_step

__all__ = ["Advised", "advise"]

_OWN = "compressbuild"
_CHECKS = (
    Check(name="changed-nothing", run="compressbuild.advise.own:changed_nothing", reference="docs/keys.md"),
    Check(
        name="more-threads-than-cpus",
        run="compressbuild.advise.own:more_threads_than_cpus",
        reference="Linux kernel, CFS bandwidth control (Documentation/scheduler/sched-bwc.rst)",
    ),
)
# They are asked last: a failed step, a loss of quality and a step for nothing only where no other check has said why.
_FAILED = Check(name="build-failed", run="compressbuild.advise.own:build_failed", reference="docs/howto/advise.md")
_IDLE = Check(name="no-difference", run="compressbuild.advise.own:no_difference", reference="docs/evidence.md#metrics")
_LAST = Check(name="which-step", run="compressbuild.advise.own:which_step", reference="docs/howto/layers.md")


class Advised(NamedTuple):
    """``advice``: of all checks, the most important first. ``failed``: for each check that does not work, why."""

    advice: tuple[Advice, ...]
    failed: tuple[str, ...]


def advise(
    targets: Iterable[Seen],
    checks: Mapping[str, Check] | None = None,
    owner: Mapping[tuple[str, str], str] | None = None,
) -> Advised:
    """The advice on all targets. Where two are the same of the same line, the first target has it: one change is
    right for both. ``checks``: those of plugins; ``owner``: as a Registry has it."""
    known = sorted((*(checks or {}).values(), *_CHECKS), key=lambda check: -check.priority)
    found: dict[tuple[object, ...], Advice] = {}
    failed: dict[str, str] = {}
    for seen in targets:
        own: list[Advice] = []
        for check in known:
            try:
                own += [_valid(check, seen, each) for each in resolved(check.run)(seen)]
            except Exception as error:  # noqa: BLE001  plugin border: one broken check leaves the others
                plugin = (owner or {}).get(("check", check.name), _OWN)
                why = f"check '{check.name}' of plugin '{plugin}' failed: {type(error).__name__}: {error}"
                failed.setdefault(check.name, why)
        own[:0] = [_valid(_FAILED, seen, a) for a in build_failed(seen, [a.mark for a in own if a.explains_failure])]
        own += [_valid(_IDLE, seen, a) for a in no_difference(seen, [a.mark for a in own])]
        own += [_valid(_LAST, seen, a) for a in which_step(seen, [a.mark for a in own if a.explains_loss])]
        for advice in own:
            place = (advice.check, advice.mark.file, advice.mark.line, advice.mark.column, advice.edit)
            found.setdefault(place, advice)
    return Advised(tuple(found.values()), tuple(failed.values()))


def _valid(check: Check, seen: Seen, given: Any) -> Advice:
    """What a check said, with its name. TypeError if it is not well-formed: msgspec checks no type of a struct that
    code builds."""
    if not isinstance(given, Advice):
        raise TypeError(f"it gave a {type(given).__name__}, not Advice")
    try:
        msgspec.convert(msgspec.to_builtins(given), Advice)
    except msgspec.ValidationError as error:
        raise TypeError(f"its advice is not well-formed: {error}") from error
    return replace(given, check=check.name, target=seen.target, reference=given.reference or check.reference)
