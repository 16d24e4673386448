"""Where a model comes from, within its own kinds."""

from __future__ import annotations

from .draft import Draft

__all__ = ["origin_of"]


def origin_of(draft: Draft, name: str, kinds: tuple[str, ...], subject: int) -> int | str:
    """The first artifact of these kinds that a model of the target ``name`` was made from, or why it cannot be
    compared with one."""
    nodes = draft.nodes
    if nodes[subject].kind not in kinds:
        return f"does not apply to {nodes[subject].kind}"
    first = at = subject
    while (parent := nodes[at].inputs.get("subject")) is not None:
        at = parent
        first = at if nodes[at].kind in kinds else first
    return first if first != subject else f"no step changed the {nodes[subject].kind} of '{name}'"
