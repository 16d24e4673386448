"""The state of a command line on disk: for the no-op what it watches, for a build of a part what it looked at.

Three files: ``noop/<name>``, which :mod:`compressbuild.noop` reads, and ``stored/<name>`` and ``rows/<name>``, which
begin with the checksum of the first. Files that do not belong together, or are damaged, are no state.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from ... import noop, signing
from ...digest import CLOCK_GRANULARITY_NS
from ...evaluate.roles import Roles
from ...platforms.libraries import searched
from ...project import Project
from ..outcome import BuildReport
from .entries import Entries
from .rows import NodeRow, Rows, TargetRow, gathered

__all__ = ["Kept", "Signature", "changed", "load", "plain_roles", "save", "settle", "write"]

Signature = tuple[int, int, int, int]

_KEEP = 32  # command lines remembered
_ASKED = ("CBUILD_CACHE", "GITHUB_STEP_SUMMARY", signing.VARIABLE)
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
_GONE: Signature = (noop.ABSENT,) * 4
_UNSURE: Signature = (0,) * 4  # of no file or directory: what is in the shelf is compared each time


class Kept(NamedTuple):
    """``text``: the Compressfile as it was built, with where its ``entries`` stand. Path → signature: ``files``,
    ``stored`` (records and objects), ``shelves`` (their directories)."""

    environment: list[tuple[bytes, bytes | None]]
    text: str
    entries: Entries
    rows: Rows
    roles: tuple[tuple[str, ...], ...]
    files: dict[str, Signature]
    stored: dict[str, Signature]
    shelves: dict[str, Signature]


def load(argv: list[str]) -> Kept | None:
    """The state of a command line, if there is one that this interpreter wrote in this environment."""
    _, path, asked = noop.locate(argv)
    try:
        data = noop.read(path)
        made_by, said, environment, names, signatures, shelves, _ = marshal.loads(data)
        if made_by != noop.identity() or said != asked:
            return None
        if any(os.environb.get(name) != value for name, value in environment):
            return None
        beside, text, entries, rows, roles = marshal.loads(noop.read(_beside(path)))
        same, stored, seen = marshal.loads(noop.read(noop.stored_path(path)))
        if not beside == same == noop.sealed(data)[:8]:
            return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    known = Rows(*rows)
    rows = known._replace(
        nodes={identity: NodeRow(*row) for identity, row in known.nodes.items()},
        targets={name: TargetRow(*row) for name, row in known.targets.items()},
    )
    kept = dict(zip(*shelves, strict=True))
    return Kept(
        environment, text, Entries(*entries), rows, roles, _unpacked(names, signatures), _unpacked(stored, seen), kept
    )


def _packed(files: Mapping[str, Signature]) -> tuple[str, bytes]:
    """Paths and signatures; what must not be there stands at the end. OverflowError for a file from before 1970."""
    gone = {path: seen for path, seen in files.items() if seen == _GONE}
    order = {**{path: seen for path, seen in files.items() if path not in gone}, **gone} if gone else files
    return "\0".join(order), array("Q", chain.from_iterable(order.values())).tobytes()


def _unpacked(names: str, signatures: bytes) -> dict[str, Signature]:
    numbers = iter(memoryview(signatures).cast("Q"))
    return dict(
        zip(names.split("\0") if names else (), zip(numbers, numbers, numbers, numbers, strict=True), strict=True)
    )


def write(project: Project, argv: list[str], report: BuildReport, text: str) -> OSError | None:
    """Remember that ``argv`` has nothing left to do; what prevented it.

    Of a build that skipped a target, the places where what the machine lacks would appear are watched, too.
    """
    lacking = any(target.status == "skipped" for target in report.targets)
    rows = gathered(project, report, map(os.path.abspath, searched()) if lacking else ())
    names = [*project.spec.env, *_ASKED, *(_SEARCHED if lacking else ())]
    environment = [(n.encode(), v.encode() if (v := project.environ.get(n)) is not None else None) for n in names]
    kept = Kept(environment, project.spec.text, Entries.of(project.spec), rows, plain_roles(report.roles), {}, {}, {})
    return save(str(project.root), argv, kept, project.opened, text)


def plain_roles(roles: Roles) -> tuple[tuple[str, ...], ...]:
    return (roles.shown, roles.quality, roles.speed)


def save(root: str, argv: list[str], kept: Kept, began: int, text: str) -> OSError | None:
    """Write the state; what prevented it. ``kept``: with the signatures that are known already. ``began``: when the
    build did, in ns since 1970.

    Waits for the file system's clock, so that later writes show.
    """
    paths, objects = kept.rows.looked_at()
    files = _signed(root, paths, kept, began)
    found = _shelved(root, objects, kept)
    if files is None or found is None:
        return None
    stored, shelves = found
    try:
        names, signatures = _packed(files)
        listed = _packed(stored)
    except OverflowError:
        return None
    at, path, asked = noop.locate(argv)
    watched = (kept.environment, names, signatures, [[*shelves], [*shelves.values()]])
    first = marshal.dumps((noop.identity(), asked, *watched, text))  # type: ignore[arg-type]
    whole = noop.sealed(first)
    rows = kept.rows
    nodes = {identity: tuple(row) for identity, row in rows.nodes.items()}
    targets = {name: tuple(row) for name, row in rows.targets.items()}
    plain = (rows.shared, rows.positions, nodes, targets, rows.units)
    second = marshal.dumps((whole[:8], *listed))
    third = marshal.dumps((whole[:8], kept.text, tuple(kept.entries), plain, kept.roles))
    path = os.path.join(root, path.removeprefix(at))
    return (
        _replace(noop.stored_path(path), noop.sealed(second))
        or _replace(_beside(path), noop.sealed(third))
        or _replace(path, whole)
    )


def _signed(root: str, paths: list[str], kept: Kept, began: int) -> dict[str, Signature] | None:
    """The signature of each file outside of the cache. None if one proves nothing: its file is being written at this
    moment, or it is an input that was written after the build ``began``, so nobody knows which of its bytes were used.
    """
    new = [path for path in paths if path not in kept.files]
    placed = [os.path.join(root, path) for path in new]
    seen = noop.signatures(placed)
    young = {path for path, each in zip(new, seen, strict=True) if each != _GONE and max(each[0], each[3]) > began}
    if any(os.path.isfile(os.path.join(root, path)) for path in young & kept.rows.inputs().keys()):
        return None
    if not settle(seen):
        return None
    if noop.signatures(placed) != seen:
        return None  # somebody is writing: the next build looks again
    known = {**kept.files, **dict(zip(new, seen, strict=True))}
    return {path: known[path] for path in paths}


def _shelved(root: str, paths: list[str], kept: Kept) -> tuple[dict[str, Signature], dict[str, Signature]] | None:
    """The signatures of records and objects, and of their shelves. Those on a shelf that is as it was are known. None
    if one is not as it was found.

    A shelf's signature is older than the last look at what is on it, and at rest: whatever comes or goes later shows.
    """
    shelves = list(dict.fromkeys([path[: -noop.NAME] for path in paths]))
    places = [os.path.join(root, path) for path in shelves]
    before = noop.signatures(places)
    moved = {shelf for shelf, seen in zip(shelves, before, strict=True) if kept.shelves.get(shelf) != seen}
    new = [path for path in paths if path[: -noop.NAME] in moved or path not in kept.stored]
    placed = [os.path.join(root, path) for path in new]
    seen = noop.signatures(placed)
    if not settle([*seen, *before]):
        return None
    after = noop.signatures(places)
    if noop.signatures(placed) != seen or any(kept.stored.get(p, now) != now for p, now in zip(new, seen, strict=True)):
        return None
    known = {**kept.stored, **dict(zip(new, seen, strict=True))}
    rest = [was if was == now else _UNSURE for was, now in zip(before, after, strict=True)]
    return {path: known[path] for path in paths}, dict(zip(shelves, rest, strict=True))


def changed(root: str, kept: Kept) -> dict[str, Signature]:
    """The paths whose files are not as they were, with their signatures now. ``root`` ends with a slash."""
    shelves = _differing(root, kept.shelves)
    stored = {p: seen for p, seen in kept.stored.items() if p[: -noop.NAME] in shelves} if shelves else {}
    return _differing(root, {**kept.files, **stored})


def _differing(root: str, files: Mapping[str, Signature]) -> dict[str, Signature]:
    paths = list(files)
    placed = [path if path[0] == "/" else root + path for path in paths]
    return {
        path: now for path, now, seen in zip(paths, noop.signatures(placed), files.values(), strict=True) if now != seen
    }


def settle(signatures: Iterable[Signature]) -> bool:
    """Wait until a later write of these files would show. False if they are of the future."""
    newest = max((max(each[0], each[3]) for each in signatures if each != _GONE), default=0)
    if newest > time.time_ns() + CLOCK_GRANULARITY_NS:
        return False
    while time.time_ns() - newest < CLOCK_GRANULARITY_NS:
        time.sleep(0.002)
    return True


def _beside(path: str) -> str:
    directory, _, name = path.rpartition("/")
    return f"{directory.removesuffix('noop')}rows/{name}"


def _replace(path: str, data: bytes) -> OSError | None:
    """Write a file, whole or not at all, and forget the oldest beside it; what prevented it."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        _prune(os.path.dirname(path))
    except OSError as error:
        return error
    return None


def _prune(directory: str) -> None:
    entries = sorted(os.scandir(directory), key=lambda entry: entry.stat().st_mtime_ns)
    for entry in entries[:-_KEEP]:
        os.unlink(entry.path)
