"""What another machine has to be when a node starts there: as it was when the node's key was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.work import WorkExpect
from ..graph import Node

if TYPE_CHECKING:
    from .keys import Keyer

__all__ = ["expectation"]


def expectation(keyer: Keyer, node: Node) -> WorkExpect | None:
    """None for this machine. Of plugins, whose code is shipped, the versions there do not count."""
    if not node.host or keyer.machines is None:
        return None
    tools, shipped = keyer.tools(node), keyer.machines.shipped
    python = tools.pop("python") or ""
    named = {name: version for name, version in tools.items() if name not in shipped}
    return WorkExpect(facts=keyer.facts_of(node), tools=named, python=python)
