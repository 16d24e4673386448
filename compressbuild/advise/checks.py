"""All checks, in the order in which their advice is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .accuracy import saturation, too_much_at_once, which_step
from .data import few_samples, judged_on_its_own_data
from .idle import changed_nothing, more_threads_than_cpus
from .speed import int8_not_faster, zeros_not_faster
from .view import Advice, Seen

__all__ = ["CHECKS", "advise"]

CHECKS: tuple[Callable[[Seen], Iterator[Advice]], ...] = (
    too_much_at_once,
    which_step,
    saturation,
    judged_on_its_own_data,
    few_samples,
    int8_not_faster,
    zeros_not_faster,
    changed_nothing,
    more_threads_than_cpus,
)


def advise(targets: Iterable[Seen]) -> tuple[Advice, ...]:
    """The advice on all targets. Where two are the same of the same line, the first target has it: one change is
    right for both."""
    found: dict[tuple[object, ...], Advice] = {}
    for seen in targets:
        for check in CHECKS:
            for advice in check(seen):
                place = (advice.check, advice.mark.file, advice.mark.line, advice.mark.column, advice.edit)
                found.setdefault(place, advice)
    return tuple(found.values())
