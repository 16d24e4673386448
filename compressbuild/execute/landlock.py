"""Landlock, by which a process gives up the files that no rule names, for itself and all that it starts.

https://docs.kernel.org/userspace-api/landlock.html. It holds below Python: for C, Rust, subprocesses, any way to open.
It does not hide whether a file is there.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from functools import cache

__all__ = ["enforce", "version"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same numbers on every architecture
_PR_SET_NO_NEW_PRIVS = 38
_LATEST, _BENEATH = 1, 1

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_SYM = (
    1 << bit for bit in (4, 5, 7, 8, 9, 10, 12)
)
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_SIGNALS = 1 << 1  # since version 6

_READS = _READ_FILE | _READ_DIR
_CHANGES = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE


@cache
def version() -> int:
    """What this kernel offers; 0 if it has no Landlock, or does not let us use it."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _call(_CREATE, None, ctypes.c_size_t(0), _LATEST))


def enforce(*, trees: Iterable[str], files: Iterable[str], folders: Iterable[str], writable: Iterable[str]) -> None:
    """Give up everything but these. ``trees``: read with all below; ``files``: read; ``folders``: listed; ``writable``:
    changed, with all below. Names that are not there are passed over. Other processes than those that this one starts
    get no signal of it, where the kernel can see to that. OSError if the kernel refuses."""
    handled = _READS | _CHANGES
    handled |= (_REFER if version() >= 2 else 0) | (_TRUNCATE if version() >= 3 else 0)
    scoped = (0, _SIGNALS) if version() >= 6 else ()  # the first number is of the network
    attributes = struct.pack(f"={1 + len(scoped)}Q", handled, *scoped)
    ruleset = _checked(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for paths, rights in ((trees, _READS), (files, _READ_FILE), (folders, _READ_DIR), (writable, handled)):
            for path in paths:
                _allow(ruleset, path, rights)
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        _checked(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is not there, or not for this user
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_FILES
        if rights:
            _checked(_ADD, ruleset, _BENEATH, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)


def _checked(number: int, *arguments: object) -> int:
    result = _call(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
