"""What this host can do for a platform of the catalogue: build for it, run on it, or neither and why."""

from __future__ import annotations

import msgspec

from ..api.needs import Needs
from ..api.params import Params
from ..api.records import Backend, Platform
from .facts import Facts
from .needs import Missing, check
from .requires import requires_met

__all__ = ["Ability", "assess"]


class Ability(msgspec.Struct, frozen=True):
    """What is missing to ``build`` and to ``run``; empty: nothing."""

    build: tuple[Missing, ...]
    run: tuple[Missing, ...]


def assess(platform: Platform, backend: Backend, facts: Facts, *more: Missing) -> Ability:
    """``requires`` limits building; what cannot be built here may be run here all the same (a published engine).
    ``more``: what the backend's own environment lacks."""
    unmet = tuple(Missing(reason) for reason in requires_met(platform.requires, facts))
    try:
        settings = msgspec.convert(platform.settings, backend.settings)
    except msgspec.ValidationError:  # the target has more to say: a dataset, for one
        settings = Params()

    def lacks(*needs: Needs) -> tuple[Missing, ...]:
        return tuple(dict.fromkeys((*(lack for each in needs for lack in check(each, facts)), *more, *unmet)))

    stack = backend.stack.needs
    return Ability(
        lacks(stack, backend.compile_needs, settings.needs()), lacks(stack, backend.run_needs, settings.run_needs())
    )
