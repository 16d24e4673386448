"""Make an environment: in a directory beside its place, which it takes in one rename when it is whole."""

from __future__ import annotations

import contextlib
import shutil
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..digest import save_sealed
from ..errors import Incompatible, StoreError
from ..store import FileSystem, Lock, SharedExclusive
from .made import MAGIC, RECORD, Made, files_of, is_made
from .uv import fill, find_uv, version
from .wanted import Wanted

__all__ = ["MAKING", "alone", "make"]

MAKING = ".making-"
"""What the directory of one that is not whole begins with."""
_POLL = 0.1  # seconds


def make(wanted: Wanted, root: Path, say: Callable[[str], object]) -> float | None:
    """Make an environment below ``root``, and return the seconds that took; None if it is there. Of several processes
    one makes it, and the others wait. ``say``: gets a line about what it waits for.

    Raises Incompatible, saying what is missing, if it cannot be made.
    """
    place = root / wanted.digest
    if is_made(place):
        return None
    with alone(root, wanted, say):
        if is_made(place):
            return None
        began = time.monotonic()
        _make(wanted, place)
        return time.monotonic() - began


@contextlib.contextmanager
def alone(root: Path, wanted: Wanted, say: Callable[[str], object]) -> Iterator[None]:
    """While no other process makes this environment. The kernel ends the lock of a process that was killed."""
    lock = _locked(root, wanted.digest)
    if lock is None:
        say(f"waiting: another process makes environment '{wanted.name}'")
    while lock is None:
        time.sleep(_POLL)
        lock = _locked(root, wanted.digest)
    with lock:
        yield


def _locked(root: Path, digest: str) -> Lock | None:
    return SharedExclusive(str(root.parent / "locks" / f"env-{digest}")).try_exclusive()


def _make(wanted: Wanted, place: Path) -> None:
    what = f"environment '{wanted.name}' (the lock {wanted.lock.path}, {place}) is not made, and cannot be made now"
    if (lack := wanted.obstacle) is not None:
        raise Incompatible(f"{what}: it needs {lack.what}", hint=lack.hint)
    uv = find_uv()
    assert wanted.python is not None
    assert uv is not None
    temporary = place.with_name(MAKING + place.name)
    try:
        _remove(temporary)
        temporary.mkdir(parents=True)
        lock = temporary / "lock.txt"
        lock.write_text(wanted.lock.text, "utf-8")
        inner = temporary / "env"
        fill(uv, inner, wanted.python.path, lock)
        record = Made(
            wanted.name, wanted.lock.digest, wanted.python.version, sysconfig.get_platform(), version(uv),
            wanted.distributions, dict(files_of(inner)),
        )  # fmt: skip
        if (lost := save_sealed(inner / RECORD, MAGIC, record)) is not None:
            raise lost
        FileSystem().sync_all(str(inner))
        _remove(place)  # one whose interpreter has gone
        inner.rename(place)
    except Incompatible as error:
        hint = error.hint or f"with the network, 'cbuild env make {wanted.name}' makes it; uv's own cache is used first"
        raise Incompatible(f"{what}:\n{error}", hint=hint) from error
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error} ({error.filename or place})") from error
    finally:
        _remove(temporary)


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
