"""A mount namespace of a worker's own, in which what its key does not cover is not there.

Only within :mod:`.bubblewrap`. Unlike a refusal this hides even whether a file is there, also from C and from child
processes.
https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

__all__ = ["SCRATCH", "Veil", "draw"]

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000  # linux/sched.h
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8  # linux/mount.h
_REMOUNT, _BIND, _ALL_BELOW, _SLAVE = 1 << 5, 1 << 12, 1 << 14, 1 << 19
_CAPABILITIES = 0x20080522  # linux/capability.h, version 3
SCRATCH = ("/tmp", "/dev/shm")
"""Where anybody may write. Each node has its own."""


class Veil:
    """``places``: directory → a descriptor of what it holds in truth."""

    def __init__(self, places: dict[str, int] | None = None) -> None:
        self._places = places or {}

    @property
    def is_drawn(self) -> bool:
        return bool(self._places)

    def is_there(self, path: str) -> bool:
        """In truth, whatever this process sees; so the others."""
        return self._mode(path, follow=False) is not None

    def is_file(self, path: str) -> bool:
        return stat.S_ISREG(self._mode(path) or 0)

    def is_folder(self, path: str) -> bool:
        return stat.S_ISDIR(self._mode(path) or 0)

    def _mode(self, path: str, *, follow: bool = True) -> int | None:
        place = _place(path, self._places)
        with contextlib.suppress(OSError, ValueError):
            if place is None:
                return os.stat(path, follow_symlinks=follow).st_mode
            name = os.path.relpath(path, place)
            return os.stat(name, dir_fd=self._places[place], follow_symlinks=follow).st_mode
        return None


def draw(
    places: Iterable[str], *, shown: Iterable[str], trees: Iterable[str], inputs: Iterable[str], own: Iterable[str]
) -> Veil:
    """Hide what is below ``places``, save ``shown`` and ``trees`` and ``inputs``, which are read, and ``own``, which is
    written: files, or directories with all below. A place that is in one of ``trees``, or is one, stays as it is.
    SCRATCH becomes empty. Nothing is hidden where the system allows no user namespace here."""
    inputs, trees = list(inputs), {form for each in trees for form in _forms(each)}
    every = sorted(trees.union(*map(_forms, (*shown, *inputs, *own))), key=lambda path: path.split(os.sep))
    there = sorted(each for each in {*SCRATCH, *places} if os.path.isdir(each))
    hidden = [each for each in there if _place(each, trees, itself=True) is None]
    if not _enter():
        return Veil()
    bases = {place: os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for place in hidden}
    below: dict[str, list[str]] = {place: [] for place in hidden}
    for path in every:
        if (place := _place(path, bases)) is not None:
            below[place].append(path)
    covered = []
    for place in hidden:  # outer ones first; what one hides whole is not there for the next
        if below[place] or os.path.isdir(place):
            _cover(place, bases[place], below[place])
            covered.append(place)
    for path in inputs:
        _make_read_only(path)
    for place in covered:
        if place not in SCRATCH:
            _make_read_only(place)
    _drop_capabilities()
    return Veil(bases)


def _forms(path: str) -> set[str]:
    return {os.path.abspath(path), os.path.realpath(path)}


def _place(path: str, places: Collection[str], *, itself: bool = False) -> str | None:
    """The innermost of ``places`` that holds a path, or ``itself`` is it."""
    if itself and path in places:
        return path
    parent = os.path.dirname(path)
    while parent not in places:
        if parent == os.path.dirname(parent):
            return None
        parent = os.path.dirname(parent)
    return parent if parent != path else None


def _enter() -> bool:
    """Make the namespace, with the ids that this process has; False if that is forbidden."""
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(_NEW_USER | _NEW_MOUNTS):
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text, "ascii")
    _mount(None, "/", None, _ALL_BELOW | _SLAVE)
    return True


def _cover(place: str, base: int, inside: Iterable[str]) -> None:
    """Lay an empty directory over a place, and what may be seen into that. ``base``: the place as it was."""
    os.makedirs(place, exist_ok=True)
    _mount("tmpfs", place, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=1777" if place in SCRATCH else "mode=0755")
    last = "\0"
    for path in inside:
        if path.startswith(last):
            continue
        name = os.path.relpath(path, place)
        try:
            mode = os.stat(name, dir_fd=base, follow_symlinks=False).st_mode
        except OSError:  # it has gone, or never was: a module that would be imported if it were there
            continue
        last = path + "/"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISLNK(mode):  # what it leads to is shown by its own name
            if not os.path.lexists(path):
                os.symlink(os.readlink(name, dir_fd=base), path)
            continue
        if stat.S_ISDIR(mode):
            os.makedirs(path, exist_ok=True)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
        _mount(f"/proc/self/fd/{base}/{name}", path, None, _BIND | _ALL_BELOW)


def _make_read_only(path: str) -> None:
    kept = os.statvfs(path).f_flag & (_NO_SUID | _NO_DEVICES | _NO_PROGRAMS)  # they are locked
    _mount(None, path, None, _REMOUNT | _BIND | _READ_ONLY | kept)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if each is None else os.fsencode(each) for each in (source, target, kind)]
    if _libc().mount(*words, ctypes.c_ulong(flags), None if data is None else data.encode()):
        code = ctypes.get_errno()
        raise OSError(code, f"mount: {os.strerror(code)}", target)


def _drop_capabilities() -> None:
    """Those that the new namespace gave, and with which all this could be undone."""
    header, none = struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)
    if _libc().capset(header, none):
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
