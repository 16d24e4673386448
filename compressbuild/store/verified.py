"""Which objects have been verified, and by what stat they are recognised."""

from __future__ import annotations

import os
from threading import Lock

import msgspec

from compressbuild.digest import Digest, FileStat, load_sealed, seal
from compressbuild.store.fs import FileSystem

__all__ = ["Verified"]


class _Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    stat: FileStat
    durable: bool


class Verified:
    """Object digest → its stat when its bytes were last hashed. An object whose stat differs must be hashed again.

    ``durable``: the object was synced too. The table is a memo: losing it costs reading each object once more.
    """

    _MAGIC = b"compressbuild-verified-1"

    def __init__(self, path: str) -> None:
        self._path = path
        self._loaded: dict[Digest, _Entry] | None = None
        self._loading = Lock()  # threads fetch, too: what one has added to another's table would be lost
        self._dropped: set[Digest] = set()
        self._dirty = False

    def holds(self, digest: Digest, st: os.stat_result) -> bool:
        entry = self._entries.get(digest)
        return entry is not None and entry.stat.matches(st)

    def is_durable(self, digest: Digest) -> bool:
        entry = self._entries.get(digest)
        return entry is not None and entry.durable

    def add(self, digest: Digest, st: os.stat_result, checked: int, *, durable: bool) -> None:
        """``checked``: ns since 1970, from before the bytes were read."""
        self._entries[digest] = _Entry(FileStat.of(st, checked), durable)
        self._dropped.discard(digest)
        self._dirty = True

    def recheck(self, digest: Digest, st: os.stat_result, checked: int) -> None:
        """The bytes were hashed again. An object is durable still if it is the same file, unchanged."""
        old = self._entries.get(digest)
        same = old is not None and FileStat.of(st, old.stat.checked) == old.stat
        self.add(digest, st, checked, durable=same and self.is_durable(digest))

    def mark_durable(self, digest: Digest, durable: bool) -> None:
        self._entries[digest] = msgspec.structs.replace(self._entries[digest], durable=durable)
        self._dirty = True

    def drop(self, digest: Digest) -> None:
        self._entries.pop(digest, None)
        self._dropped.add(digest)
        self._dirty = True

    def save(self, fs: FileSystem, temporary: str) -> None:
        """Write the table, with what other processes have saved meanwhile (a stat speaks for itself)."""
        if not self._dirty:
            return
        others = {d: e for d, e in self._read().items() if d not in self._dropped}
        data = seal(self._MAGIC, msgspec.msgpack.encode(others | self._entries))
        fs.write(temporary, data)  # no sync: if it is torn, it is an empty table
        fs.rename(temporary, self._path)
        self._dirty = False

    @property
    def _entries(self) -> dict[Digest, _Entry]:
        if self._loaded is None:
            with self._loading:
                if self._loaded is None:
                    self._loaded = self._read()
        return self._loaded

    def _read(self) -> dict[Digest, _Entry]:
        return load_sealed(self._path, self._MAGIC, dict[Digest, _Entry]) or {}
