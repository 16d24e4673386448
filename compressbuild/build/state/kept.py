"""The state of a command line on disk: for the no-op what it watches, for a build of a part what it looked at.

Two files: ``noop/<name>``, which :mod:`compressbuild.noop` reads, and ``rows/<name>``, which begins with the checksum
of the first. A pair that does not belong together, or is damaged, is no state.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Kept(NamedTuple):
    """``text``: the Compressfile as it was built, with where its ``entries`` stand. ``files``: path → signature."""

    environment: list[tuple[bytes, bytes | None]]
    text: str
    entries: Entries
    rows: Rows
    roles: tuple[tuple[str, ...], ...]
    files: dict[str, Signature]


def load(argv: list[str]) -> Kept | None:
    """The state of a command line, if there is one that this interpreter wrote in this environment."""
    _, path, asked = noop.locate(argv)
    try:
        data = noop.read(path)
        made_by, said, environment, names, signatures, _ = marshal.loads(data)
        if made_by != noop.identity() or said != asked:
            return None
        if any(os.environb.get(name) != value for name, value in environment):
            return None
        beside, text, entries, rows, roles = marshal.loads(noop.read(_beside(path)))
        if beside != noop.sealed(data)[:8]:
            return None
    except (OSError, ValueError, EOFError, TypeError):
        return None
    numbers = iter(memoryview(signatures).cast("Q"))
    files = dict(zip(names.split("\0"), zip(numbers, numbers, numbers, numbers, strict=True), strict=True))
    known = Rows(*rows)
    rows = known._replace(
        nodes={identity: NodeRow(*row) for identity, row in known.nodes.items()},
        targets={name: TargetRow(*row) for name, row in known.targets.items()},
    )
    return Kept(environment, text, Entries(*entries), rows, roles, files)


def write(project: Project, argv: list[str], report: BuildReport, text: str) -> OSError | None:
    """Remember that ``argv`` has nothing left to do; what prevented it.

    Of a build that skipped a target, the places where what the machine lacks would appear are watched, too.
    """
    lacking = any(target.status == "skipped" for target in report.targets)
    rows = gathered(project, report, map(os.path.abspath, searched()) if lacking else ())
    names = [*project.spec.env, *_ASKED, *(_SEARCHED if lacking else ())]
    environment = [(n.encode(), v.encode() if (v := project.environ.get(n)) is not None else None) for n in names]
    kept = Kept(environment, project.spec.text, Entries.of(project.spec), rows, plain_roles(report.roles), {})
    return save(str(project.root), argv, kept, project.opened, text)


def plain_roles(roles: Roles) -> tuple[tuple[str, ...], ...]:
    return (roles.shown, roles.quality, roles.speed)


def save(root: str, argv: list[str], kept: Kept, began: int, text: str) -> OSError | None:
    """Write the state; what prevented it. ``kept.files``: the signatures that are known already. ``began``: when the
    build did, in ns since 1970.

    Waits for the file system's clock, so that later writes show.
    """
    paths = list(dict.fromkeys(kept.rows.paths()))
    files = _signed(root, paths, kept, began)
    if files is None:
        return None
    there = [path for path in paths if files[path] != _GONE]
    order = [*there, *(path for path in paths if files[path] == _GONE)]
    try:
        packed = array("Q", chain.from_iterable(map(files.__getitem__, order))).tobytes()
    except OverflowError:  # a file from before 1970
        return None
    at, path, asked = noop.locate(argv)
    first = marshal.dumps((noop.identity(), asked, kept.environment, "\0".join(order), packed, text))  # type: ignore[arg-type]
    whole = noop.sealed(first)
    rows = kept.rows
    nodes = {identity: tuple(row) for identity, row in rows.nodes.items()}
    targets = {name: tuple(row) for name, row in rows.targets.items()}
    plain = (rows.shared, rows.positions, nodes, targets, rows.units)
    second = marshal.dumps((whole[:8], kept.text, tuple(kept.entries), plain, kept.roles))
    path = os.path.join(root, path.removeprefix(at))
    return _replace(_beside(path), noop.sealed(second)) or _replace(path, whole)


def _signed(root: str, paths: Sequence[str], kept: Kept, began: int) -> dict[str, Signature] | None:
    """The signature of each path. None if one proves nothing: its file is being written at this moment, or it is an
    input that was written after the build ``began``, so nobody knows which of its bytes were used."""
    new = [path for path in paths if path not in kept.files]
    placed = [os.path.join(root, path) for path in new]
    seen = noop.signatures(placed)
    young = {path for path, each in zip(new, seen, strict=True) if each != _GONE and max(each[0], each[3]) > began}
    if any(os.path.isfile(os.path.join(root, path)) for path in young & kept.rows.inputs()):
        return None
    if not settle(seen):
        return None
    if noop.signatures(placed) != seen:
        return None  # somebody is writing: the next build looks again
    return {**kept.files, **dict(zip(new, seen, strict=True))}


def changed(root: str, files: Mapping[str, Signature]) -> dict[str, Signature]:
    """The paths whose files are not as they were, with their signatures now. ``root`` ends with a slash.

    Many files are shared among processes, as in the no-op."""
    names, seen = list(files), list(files.values())
    share = noop.share_of(len(names)) if threading.active_count() == 1 else max(1, len(names))
    children = []
    for first in range(share, len(names), share):
        with contextlib.suppress(OSError):  # no process, or no descriptor, is to be had: it is done below
            children.append((first, *_child(lambda first=first: _changed(root, names, seen, first, share))))  # type: ignore[misc]
    found = _changed(root, names, seen, 0, share)
    answers = {first: _answer(pid, reading) for first, pid, reading in children}
    for first in range(share, len(names), share):
        answer = answers.get(first)
        found |= _changed(root, names, seen, first, share) if answer is None else answer
    return found


def _child(work: Callable[[], object]) -> tuple[int, int]:
    """A process that does it: its id, and where its answer is read."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            try:
                with open(writing, "wb") as file:
                    file.write(noop.sealed(marshal.dumps(work())))  # type: ignore[arg-type]
            finally:
                os._exit(0)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return pid, reading


def _answer(pid: int, reading: int) -> dict[str, Signature] | None:
    """None if the process did not say all."""
    with open(reading, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    if noop.sealed(data[8:]) != data:
        return None
    found: dict[str, Signature] = marshal.loads(data[8:])
    return found


def _changed(
    root: str, names: Sequence[str], seen: Sequence[Signature], first: int, share: int
) -> dict[str, Signature]:
    """The same of ``share`` files."""
    part = slice(first, first + share)
    placed = [name if name[0] == "/" else root + name for name in names[part]]
    now = noop.signatures(placed)
    return {name: new for name, new, old in zip(names[part], now, seen[part], strict=True) if new != old}


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
