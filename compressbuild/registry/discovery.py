"""Which plugins there are and what they offer: remembered, or asked of each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType

from msgspec.structs import replace

from .asked import remember, sources
from .installed import scan
from .memory import Remembered, read, write
from .registry import Registry
from .trial import aside, tried

__all__ = ["discover"]


def discover(*, cache: Path | None = None, extra: Sequence[ModuleType | str] = ()) -> Registry:
    """Ask every installed plugin, and the project's own ``extra`` modules, what it offers.

    ``cache``: a file in which to remember what is installed; None: none. Never raises for what a plugin does.
    """
    known = read(cache)
    installed = known.installed if known is not None and known.installed.current() else scan()
    if known is not None and known.installed is installed and not extra and known.asked and known.asked.current():
        return replace(known.asked.registry(), remembered=_lost(known.offers), installed=installed, stamp=known.stamp)
    from .asking import ask  # with pluggy, which a remembered answer does not take

    before = frozenset(sys.modules)
    seen = tried(installed.entry_points, known.tried if known is not None else {}, ask)
    with aside():
        registry = ask(installed.entry_points, extra, {value: each.problem for value, each in seen.items()})
    registry = replace(registry, installed=installed, origins=sources(before, registry.plugins))
    offers = _offers(registry, known.offers if known is not None else {})
    if cache is not None:
        settled = installed.settled()
        kept = installed if settled else replace(installed, identity="")
        asked = remember(registry) if settled and not extra else None
        now = Remembered(kept, offers, asked, seen)
        if known != now:
            write(cache, now)
    return replace(registry, remembered=_lost(offers))


def _lost(offers: Mapping[str, Mapping[str, Iterable[str]]]) -> Mapping[tuple[str, str], str]:
    return MappingProxyType({(what, n): plugin for plugin, by in offers.items() for what, ns in by.items() for n in ns})


def _offers(
    registry: Registry, before: Mapping[str, dict[str, tuple[str, ...]]]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """What each plugin offers; of a broken one, also what it offered when it last worked."""
    offers = {}
    for plugin in registry.plugins:
        now = {
            "technique": plugin.techniques,
            "backend": plugin.backends,
            "kind": plugin.kinds,
            "metric": plugin.metrics,
            "platform": plugin.platforms,
            "source": plugin.sources,
            "destination": plugin.destinations,
            "executor": plugin.executors,
            "check": plugin.checks,
        }
        then = before.get(plugin.name, {}) if plugin.broken else {}
        offers[plugin.name] = {what: tuple(sorted({*names, *then.get(what, ())})) for what, names in now.items()}
    return offers
