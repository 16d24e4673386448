"""Which targets a change can reach, by what the last build looked at. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Set

from ...compressfile.spec import Spec
from ...graph import Graph
from .entries import Entries
from .rows import Rows, owner_of

__all__ = ["affected", "needed_entries", "same_places", "without"]

Identity = bytes


def affected(rows: Rows, changed: Set[str], touched: Collection[str]) -> tuple[set[Identity], set[str]]:
    """The nodes and targets that a change can reach. ``changed``: files; ``touched``: targets whose entry was edited.

    Every target that was skipped is among them if any entry was edited.
    """
    watched = {id(row.watched): row.watched for row in rows.nodes.values()}  # many nodes watch the same files
    spoiled = {key for key, paths in watched.items() if not changed.isdisjoint(paths)}
    nodes: set[Identity] = set()
    for identity, row in rows.nodes.items():  # each after its inputs
        if (
            id(row.watched) in spoiled
            or not nodes.isdisjoint(row.inputs)
            or not changed.isdisjoint(row.stored)
            or (touched and any(owner_of(place) in touched for place in rows.positions[identity]))
        ):
            nodes.add(identity)
    targets = {
        name
        for name, target in rows.targets.items()
        if name in touched
        or (touched and not target.files)
        or not nodes.isdisjoint(target.nodes)
        or not changed.isdisjoint(target.files)
    }
    return nodes, targets


def needed_entries(
    entries: Entries,
    lines: Sequence[str],
    rows: Rows,
    nodes: Iterable[Identity],
    wanted: Iterable[str],
    touched: Collection[int],
) -> set[int]:  # fmt: skip
    """The entries without which the targets ``wanted`` cannot be read, and all that were ``touched``."""
    entry = {name: number for number, names in enumerate(entries.names) for name in names}
    left = [*wanted, *(word for word in entries.words_around(lines) if word in entry)]
    left += [name for number in touched for name in entries.names[number]]
    left += [owner_of(place) for identity in nodes for place in rows.positions[identity]]
    seen: set[str] = set()
    found: set[int] = set()
    while left:
        name = left.pop()
        if name in seen or name not in entry:
            continue
        seen.add(name)
        number = entry[name]
        row = rows.targets.get(name)
        left += row.names if row is not None else ()
        if number not in found:
            found.add(number)
            left += entries.names[number] if number in touched else ()
            if number in touched or row is None:
                left += [word for word in entries.words(lines, number) if word in entry]
    return found


def same_places(rows: Rows, graph: Graph, *, whole: bool) -> bool:
    """Whether each node of the ``graph`` of a part is first written where it would be in that of the whole file.

    ``whole``: the rows are of every target, so whoever writes a new node is in the part.
    """
    for index, identity in enumerate(graph.identities):
        places = graph.positions[index]
        known = rows.positions.get(identity)
        if (known[0] != places[0]) if known is not None else (len(places) > 1 and not whole):
            return False
    return True


def without(rows: Rows, targets: Collection[str], touched: Collection[str], spec: Spec) -> Rows:
    """The rows but for those of ``targets``, and of what only they needed. ``spec``: the part that is read again."""
    kept = {name: row for name, row in rows.targets.items() if name not in targets}
    live: set[Identity] = set()
    left = [identity for row in kept.values() for identity in row.nodes]
    while left:
        identity = left.pop()
        if identity not in live:
            live.add(identity)
            left += rows.nodes[identity].inputs
    return rows._replace(
        targets=kept,
        nodes={identity: row for identity, row in rows.nodes.items() if identity in live},
        positions=_elsewhere(rows.positions, spec.targets) if touched else rows.positions,
    )


def _elsewhere(positions: Mapping[Identity, tuple[str, ...]], here: Container[str]) -> dict[Identity, tuple[str, ...]]:
    """Without the places in these targets."""
    found = {}
    for identity, places in positions.items():
        left = tuple(place for place in places if owner_of(place) not in here)
        if left:
            found[identity] = left
    return found
