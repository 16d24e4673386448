"""How the contracts of a plugin are listed: a class for each record, with what differs from the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressbuild.api.conformance import BackendContract, KindContract, MetricContract, TechniqueContract
from compressbuild.api.conformance.contract import Contract

__all__ = ["BASES", "classes", "named"]

BASES = (TechniqueContract, BackendContract, MetricContract, KindContract)


def classes(base: type, records: Mapping[str, Mapping[str, Any]]) -> dict[str, type]:
    """For a module's globals: ``Test_technique_prune.nm`` for each record of the base's sort, with its attributes."""
    made = (type(f"Test_{base.what}_{name}", (base,), {base.what: name, **more}) for name, more in records.items())
    return {each.__name__: each for each in made}


def named(module: Any) -> dict[str, type]:
    """The classes of a module that pytest collects, by name."""
    found = vars(module).items()
    return {name: each for name, each in found if name.startswith("Test") and issubclass(each, Contract)}
