"""The entries of ``publish``: each has an address that some destination takes, and options that it knows."""

from __future__ import annotations

from ..errors import Diagnostic, PluginError
from ..registry.destinations import destination_of
from .draft import Draft
from .params import NO_PLATFORM, resolve

__all__ = ["check_publish"]


def check_publish(draft: Draft) -> None:
    """Add what is wrong to the problems of the draft."""
    for entry in draft.spec.publish.values():
        try:
            record = destination_of(draft.registry, entry.to)
        except PluginError as error:
            draft.problems.append(Diagnostic(str(error), entry.marks["to"], error.hint))
            continue
        resolve(
            record.options,
            entry.options,
            owner=f"destination '{record.name}'",
            mark=entry.mark,
            settle=NO_PLATFORM,
            problems=draft.problems,
            types=draft.types,
        )
