"""Addresses of places to push to, and the destination that takes one."""

from __future__ import annotations

from ..api.destination import Destination
from ..errors import PluginError
from ..words import suggest
from .registry import Registry

__all__ = ["destination_of", "scheme"]

_ANY = "*"


def scheme(address: str) -> str:
    """``file`` of a plain path."""
    found, separator, _ = address.partition("://")
    return found.lower() if separator else "file"


def destination_of(registry: Registry, address: str) -> Destination:
    """PluginError if no destination takes the address, or two do."""
    wanted = scheme(address)
    known = registry.destinations.values()
    found = [each for each in known if wanted in each.schemes] or [each for each in known if _ANY in each.schemes]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(f"'{each.name}' of plugin '{registry.owner['destination', each.name]}'" for each in found)
        raise PluginError(f"addresses '{wanted}://' are taken by destinations {names}", hint="uninstall one of them")
    schemes = [each for record in known for each in record.schemes]
    hint = suggest(wanted, schemes, otherwise="'cbuild plugins' lists the destinations")
    raise PluginError(f"no destination takes '{wanted}://' addresses", hint=hint)
