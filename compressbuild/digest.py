"""Canonical encoding, digests, and a memo of digests by file stat.

Every digest is BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), 256 bits, written as 64 lower-case hex digits
and never shortened. ``file_digest`` equals what ``b3sum`` prints.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec
from blake3 import blake3

__all__ = [
    "CLOCK_GRANULARITY_NS",
    "Digest",
    "FileStat",
    "Seen",
    "StatCache",
    "bytes_digest",
    "digest_value",
    "encode",
    "file_digest",
    "is_digest",
    "seal",
    "unseal",
]

Digest = str
T = TypeVar("T")

_HEX = frozenset("0123456789abcdef")
_MAX_DEPTH = 200
_CHUNK = 4 << 20
_SMALL = 64 << 10  # bytes of a file for which a file object costs more than the reading
_ATTEMPTS = 5

# File systems stamp files from a clock that ticks every 1-10 ms; two writes within a tick can bear one stamp.
CLOCK_GRANULARITY_NS = 20_000_000


def is_digest(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and _HEX.issuperset(text)


def bytes_digest(data: bytes) -> Digest:
    return blake3(data).hexdigest()


# -- values ------------------------------------------------------------------------------------------------------------


def encode(value: object) -> bytes:
    """An injective, platform-independent encoding: values of unequal type or content give unequal bytes.

    Takes None, bool, int, float, str, bytes, list, tuple, dict and frozenset, of exactly these types and nested up to
    200 deep. So ``1``, ``True``, ``1.0`` and ``"1"`` differ, as do ``0.0`` and ``-0.0``, or a list and a tuple; all
    NaNs are one; the order of a dict does not count. Anything else is a TypeError, deeper (or circular) a ValueError.

    Each item is a tag byte, then a fixed width or a length and ``:``, then content, so the code is prefix-free.
    """
    return _encoded(value, 0)


@lru_cache(maxsize=4096)  # names of entries, and values that many actions share
def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _encoded(value: object, depth: int) -> bytes:
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None:
        return b"N"
    if kind is bool:
        return b"T" if value else b"F"
    if kind is int:
        data = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)  # type: ignore[attr-defined]
        return b"i%d:%b" % (len(data), data)
    if kind is float:
        return b"d" + (struct.pack(">d", value) if value == value else b"\x7f\xf8\0\0\0\0\0\0")
    if kind is bytes:
        return b"b%d:%b" % (len(value), value)  # type: ignore[arg-type, str-format]
    if depth == _MAX_DEPTH and value:
        raise ValueError(f"cannot encode a value nested more than {_MAX_DEPTH} deep")
    deeper = depth + 1
    if kind is list or kind is tuple:
        parts = [_encoded(item, deeper) for item in value]  # type: ignore[attr-defined]
        return b"%b%d:%b" % (b"l" if kind is list else b"t", len(parts), b"".join(parts))
    if kind is dict:
        parts = sorted(
            [
                (_text(key) if type(key) is str else _encoded(key, deeper))
                + (_text(item) if type(item) is str else _encoded(item, deeper))
                for key, item in value.items()  # type: ignore[attr-defined]
            ]
        )
        return b"m%d:%b" % (len(parts), b"".join(parts))
    if kind is frozenset:
        parts = sorted([_encoded(item, deeper) for item in value])  # type: ignore[attr-defined]
        return b"f%d:%b" % (len(parts), b"".join(parts))
    raise TypeError(f"cannot encode a {kind.__module__}.{kind.__qualname__}: only plain values join a key")


def digest_value(value: object, domain: str = "value") -> Digest:
    """The digest of ``encode(value)``, separated by ``domain`` so that no two uses of it can be confused."""
    return blake3(b"compressbuild\0" + encode(domain) + encode(value)).hexdigest()


# -- files -------------------------------------------------------------------------------------------------------------


def file_digest(path: str | os.PathLike[str]) -> Digest:
    """The digest of a regular file's bytes (symbolic links are followed). OSError if it cannot be read."""
    return _digest_and_stat(os.fspath(path))[0]


class FileStat(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a file's content is recognised by, and when (``checked``, ns since 1970) its bytes were last read."""

    mtime_ns: int
    size: int
    inode: int
    ctime_ns: int
    checked: int

    @classmethod
    def of(cls, st: os.stat_result, checked: int) -> FileStat:
        return cls(st.st_mtime_ns, st.st_size, st.st_ino, st.st_ctime_ns, checked)

    def matches(self, st: os.stat_result) -> bool:
        """True if ``st`` proves that the bytes are the ones that were read.

        Racily clean entries (git's term, Documentation/technical/racy-git.txt) prove nothing: had the file been
        written again within the clock tick of the write before the reading, its stat would be the same.
        """
        return (
            self.mtime_ns == st.st_mtime_ns
            and self.size == st.st_size
            and self.inode == st.st_ino
            and self.ctime_ns == st.st_ctime_ns
            and max(self.mtime_ns, self.ctime_ns) < self.checked - CLOCK_GRANULARITY_NS
        )


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A file at the moment when its digest was taken for a key."""

    stat: FileStat
    digest: Digest

    @classmethod
    def of(cls, path: str, digest: Callable[[str], Digest]) -> Seen:
        """The stat is the older of the two, so a write between them shows as a change."""
        checked = time.time_ns()
        return cls(FileStat.of(os.stat(path), checked), digest(path))

    def changed(self, path: str) -> bool:
        """Whether it was written since, even if the old bytes are back: others may have been read between."""
        try:
            now = os.stat(path)
            if self.stat.matches(now):
                return False
            if FileStat.of(now, self.stat.checked) != self.stat:
                return True
            return file_digest(path) != self.digest  # too young for its stat to prove anything
        except OSError:
            return True


def _digest_and_stat(path: str) -> tuple[Digest, FileStat]:
    """Hash a file, again if it changed meanwhile, so that the stat is that of the bytes."""
    for _ in range(_ATTEMPTS):
        checked = time.time_ns()
        before = os.stat(path)
        if stat.S_ISDIR(before.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(before.st_mode):  # opening a FIFO could block without end
            raise OSError(errno.EINVAL, "not a regular file", path)
        digest = _hash(path, before.st_size)
        after = os.stat(path)
        if (before.st_mtime_ns, before.st_size, before.st_ino) == (after.st_mtime_ns, after.st_size, after.st_ino):
            return digest, FileStat.of(before, checked)
    raise _unsteady(path)


def _unsteady(path: str) -> OSError:
    return OSError(errno.EBUSY, "the file keeps changing while it is read", path)


def _hash(path: str, size: int) -> Digest:
    """Read, not mapped: whoever truncates a mapped file kills the process that reads it (SIGBUS)."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe put in the file's place is opened, and fails at once
    try:
        if size < _SMALL:
            hasher = blake3()
            while data := os.read(fd, _SMALL):
                hasher.update(data)
            return hasher.hexdigest()
        with open(fd, "rb", buffering=0, closefd=False) as file:
            hasher = blake3(max_threads=blake3.AUTO if size > _CHUNK else 1)
            buffer = bytearray(min(size, _CHUNK))
            view = memoryview(buffer)
            while count := file.readinto(buffer):
                hasher.update(view[:count])
            return hasher.hexdigest()
    finally:
        os.close(fd)


# -- small self-checked files ------------------------------------------------------------------------------------------


def seal(magic: bytes, body: bytes) -> bytes:
    """``magic``, a space, the digest of ``body``, a newline, ``body``: a file that knows when it is damaged."""
    return b"%b %b\n%b" % (magic, blake3(body).hexdigest().encode(), body)


def unseal(magic: bytes, data: bytes) -> bytes | None:
    """The body of a sealed file, or None if it is of another format or damaged."""
    start = len(magic) + 66
    if data[: len(magic) + 1] != magic + b" " or data[start - 1 : start] != b"\n":
        return None
    body = data[start:]
    return body if data[len(magic) + 1 : start - 1] == blake3(body).hexdigest().encode() else None


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file. OSError for all else: a link, a directory, a pipe that nobody writes to."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return file.read()


def promptly(path: str, flags: int) -> int:
    """An opener for :func:`open` that does not wait for the other end of a FIFO. To write to one that nobody reads is
    an OSError; one that nobody writes to is empty."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(fd, True)
    return fd


def read_named(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that a user named. Links are followed, and a pipe that the shell opened is read, as of
    ``<(command)``. OSError for a directory, and for what might never end: another pipe, a device."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        inherited = os.fspath(path).startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin"))
        if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and inherited):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
        os.set_blocking(fd, True)
        return file.read()


def load_sealed(path: str | os.PathLike[str], magic: bytes, kind: type[T]) -> T | None:
    """What ``save_sealed`` kept; None if there is nothing, or nothing that can be believed. A memo is never worth an
    error: without it the same answer takes longer."""
    try:
        body = unseal(magic, read_regular(path))
        return None if body is None else msgspec.msgpack.decode(body, type=kind)
    except (OSError, ValueError, RecursionError):
        return None


def save_sealed(path: str | os.PathLike[str], magic: bytes, value: object) -> OSError | None:
    """Keep a memo, whole or not at all. What prevents it is returned, not raised: the work it remembers is done."""
    temporary = f"{os.fspath(path)}.{os.getpid():x}{os.urandom(4).hex()}"
    try:
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        try:
            with open(temporary, "xb", buffering=0) as file:
                rest = memoryview(seal(magic, msgspec.msgpack.encode(value)))
                while rest:  # a disk that gets full may take a part, without an error
                    rest = rest[file.write(rest) :]
            os.replace(temporary, path)
        except BaseException:  # a signal, too, leaves nothing behind
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        return error
    return None


# -- the stat cache ----------------------------------------------------------------------------------------------------


class _Entry(msgspec.Struct, array_like=True):
    stat: FileStat
    digest: Digest
    columns: dict[str, msgspec.Raw] = {}


class StatCache:
    """Remembers what was computed from a file, for as long as the file's stat proves that it has not changed.

    Besides the digest, ``memo`` keeps named columns of plain (JSON-able) values; both follow the *content*: after
    ``touch`` or ``git checkout`` to the same bytes, one hash restores them all and the new stat is saved. An entry as
    young as its file is distrusted and hashed once more. Paths below ``root`` are kept relative to it, so a project
    can move. ``path``: where the cache lives; a damaged or missing file there is an empty cache.
    """

    _MAGIC = b"compressbuild-stat-cache-1"

    def __init__(self, path: Path, root: Path) -> None:
        self._path = os.path.abspath(path)
        self._root = os.path.join(os.path.abspath(root), "")
        self._entries = self._load()
        self._dirty = False

    def digest(self, path: str | os.PathLike[str]) -> Digest:
        """The file's digest. FileNotFoundError if there is none, OSError if it is no readable regular file."""
        return self._entry(os.path.abspath(path)).digest

    def memo(self, path: str | os.PathLike[str], column: str, compute: Callable[[Path], T]) -> T:
        """``compute(path)``, remembered under ``column`` (which should carry a version) until the bytes change.

        The value comes back as JSON would return it (a tuple as a list), the first time too.
        """
        full = os.path.abspath(path)
        for _ in range(_ATTEMPTS):
            entry = self._entry(full)
            found = entry.columns.get(column)
            if found is None:
                raw = msgspec.msgpack.encode(compute(Path(full)))
                if FileStat.of(os.stat(full), entry.stat.checked) != entry.stat:
                    continue  # written while it was being read: what was computed belongs to no known content
                found = entry.columns[column] = msgspec.Raw(raw)
                self._dirty = True
            value: T = msgspec.msgpack.decode(found)
            return value
        raise _unsteady(full)

    def save(self) -> OSError | None:
        """Write the cache if anything is new; what prevented it. Concurrent savers replace each other's file: the last
        one wins."""
        if not self._dirty:
            return None
        error = save_sealed(self._path, self._MAGIC, self._entries)
        self._dirty = error is not None
        return error

    def _known(self, name: str) -> _Entry | None:
        """An entry is decoded when it is first asked for: a build of a part asks for few."""
        entry = self._entries.get(name)
        if isinstance(entry, msgspec.Raw):
            try:
                entry = self._entries[name] = msgspec.msgpack.decode(entry, type=_Entry)
            except ValueError:  # of another shape, by another version
                del self._entries[name]
                return None
        return entry

    def _entry(self, full: str) -> _Entry:
        name = full[len(self._root) :] if full.startswith(self._root) else full
        entry = self._known(name)
        try:
            if entry is not None and entry.stat.matches(os.stat(full)):
                return entry
            digest, seen = _digest_and_stat(full)
        except FileNotFoundError:
            self._dirty |= self._entries.pop(name, None) is not None
            raise
        kept = entry.columns if entry is not None and entry.digest == digest else {}
        fresh = self._entries[name] = _Entry(seen, digest, kept)
        self._dirty = True
        return fresh

    def _load(self) -> dict[str, _Entry | msgspec.Raw]:
        return {**(load_sealed(self._path, self._MAGIC, dict[str, msgspec.Raw]) or {})}
