"""Trees: what a directory of regular files is, as one canonical object.

The object is a line ``compressbuild-tree 1`` and compact JSON ``{"files":[[path,digest,size,executable],…],
"empty":[path,…]}``, both sorted by path. The digest of these bytes is the digest of the artifact (a Merkle tree of
depth one). Times, owners and other mode bits do not count.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import msgspec

from compressbuild.digest import Digest, bytes_digest, is_digest
from compressbuild.errors import StoreError

__all__ = ["BadOutput", "Found", "Tree", "TreeFile", "scan"]

_MAGIC = b"compressbuild-tree 1\n"


class TreeFile(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file: POSIX path relative to the tree, digest, size in bytes, whether its owner may execute it."""

    path: str
    digest: Digest
    size: int
    executable: bool = False


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A directory: its files, and those of its directories that are empty, each sorted by path."""

    files: tuple[TreeFile, ...]
    empty: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in its files."""
        return sum(file.size for file in self.files)

    @property
    def digest(self) -> Digest:
        return bytes_digest(self.encode())

    def encode(self) -> bytes:
        return _MAGIC + msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Tree:
        """Read a tree, from whomever it came: ValueError unless it is exactly what ``encode`` would write and every
        path stays below the directory it is unpacked in."""
        if not data.startswith(_MAGIC):
            raise ValueError("not a tree")
        try:
            tree = msgspec.json.decode(memoryview(data)[len(_MAGIC) :], type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a tree: {error}") from error
        for file in tree.files:
            if not is_digest(file.digest) or file.size < 0:
                raise ValueError(f"a tree with a bad digest or size for {file.path!r}")
        _check_paths([file.path for file in tree.files], tree.empty)
        if tree.encode() != data:
            raise ValueError("a tree that is not in canonical form")
        return tree


def _check_paths(files: list[str], empty: Iterable[str]) -> None:
    seen: set[str] = set()
    parents: set[str] = set()
    for group in (files, empty):
        last = ""
        for path in group:
            parts = path.split("/")
            if "\0" in path or any(part in ("", ".", "..") for part in parts):
                raise ValueError(f"a tree with an unsafe path {path!r}")
            if path <= last or path in seen:
                raise ValueError(f"a tree with an unsorted or repeated path {path!r}")
            seen.add(path)
            parents.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            last = path
    if clash := seen & parents:
        raise ValueError(f"a tree in which {min(clash)!r} is a file or empty, and also a directory with content")


_LONGEST = 1000
"""Characters of a path in an artifact: somewhere else it has to fit into a longer one."""


class Found(msgspec.Struct, frozen=True):
    """A file met by ``scan``: its path below the directory, and its stat."""

    path: str
    stat: os.stat_result


class BadOutput(StoreError):
    """What an action left is no artifact: the action's own fault, not the cache's."""


def scan(directory: str) -> tuple[list[Found], list[str]]:
    """The files and the empty directories below ``directory``, sorted. BadOutput for anything else in it, and if it is
    itself a link: an artifact is made of regular files and directories, whose names are UTF-8."""
    if not stat.S_ISDIR(os.lstat(directory).st_mode):
        raise BadOutput(
            f"the output {directory} is no longer a directory",
            hint="fill the directory that ctx.out names; a link in its place would publish files from somewhere else",
        )
    files: list[Found] = []
    empty: list[str] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        filled = False
        with os.scandir(os.path.join(directory, prefix)) as entries:
            for entry in entries:
                filled = True
                path = prefix + entry.name
                _check_path(path, directory)
                st = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(st.st_mode):
                    pending.append(path + "/")
                elif stat.S_ISREG(st.st_mode):
                    files.append(Found(path, st))
                else:
                    what = "a symbolic link" if stat.S_ISLNK(st.st_mode) else "a special file"
                    raise BadOutput(
                        f"{path!r} in the artifact {directory} is {what}",
                        hint="an artifact may hold regular files and directories only; write a copy instead",
                    )
        if prefix and not filled:
            empty.append(prefix[:-1])
    files.sort(key=lambda found: found.path)
    return files, sorted(empty)


def unsound(directory: str) -> BadOutput | None:
    """Why what an action left cannot be stored, whatever the cause, as far as that is to be seen without reading it."""
    try:
        files, _ = scan(directory)
    except BadOutput as error:
        return error
    except OSError as error:
        return BadOutput(
            f"its output cannot be read: {error.strerror} ({error.filename})",
            hint="leave the directory that ctx.out names, and what is in it, readable by its owner",
        )
    hint = "leave what is in ctx.out readable by its owner"
    for found in files:
        if not os.access(os.path.join(directory, found.path), os.R_OK):
            return BadOutput(f"its output cannot be read: Permission denied ({found.path})", hint=hint)
    return None


def _check_path(path: str, directory: str) -> None:
    if len(path) > _LONGEST:
        raise BadOutput(
            f"the artifact {directory} has a path of more than {_LONGEST} characters: {path[:40]}…",
            hint="nest fewer directories, or give them shorter names",
        )
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise BadOutput(
            f"the artifact {directory} has a file whose name is not UTF-8: {os.fsencode(path)!r}",
            hint="give it a name in UTF-8",
        ) from None
