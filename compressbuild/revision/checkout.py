"""A revision of a project in a temporary directory. What git does not track is the same in every revision."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError
from ..project import STATE_DIR
from .git import Repository

__all__ = ["Checkout", "checked_out"]

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v\d+\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize \d+\n"
)
_POINTER_BYTES = 1024


class Checkout:
    """``file``: the Compressfile in it. ``notes``: what of the revision is not here, for people."""

    def __init__(self, repository: Repository, commit: str, ref: str, top: Path, file: Path) -> None:
        self.repository = repository
        self.commit = commit
        self.ref = ref
        self.top = top
        self.file = file
        self.notes: list[str] = []


@contextmanager
def checked_out(file: Path, ref: str, own: frozenset[Path]) -> Iterator[Checkout]:
    """The revision ``ref`` of the project of the Compressfile ``file``. ``own``: directories that builds write, which
    no revision shares. The user's tree, index and repository stay as they are."""
    file = Path(os.path.abspath(file))
    repository = Repository.around(file.parent)
    commit = repository.commit(ref)
    below = Path(os.path.realpath(file.parent)).relative_to(os.path.realpath(repository.top))
    own |= {file.parent / STATE_DIR}
    with tempfile.TemporaryDirectory(prefix="cbuild-revision-") as directory:
        top = Path(os.path.realpath(directory)) / "tree"
        found = Checkout(repository, commit, ref, top, top / below / file.name)
        _fill(found, repository, commit, Path(), {Path(os.path.realpath(path)) for path in own})
        if not found.file.is_file():
            raise UsageError(f"'{ref}' has no {below / file.name}", hint="name a revision in which git tracks it")
        yield found


def _fill(found: Checkout, repository: Repository, commit: str, prefix: Path, own: set[Path]) -> None:
    """Write a repository's files, then those of its submodules, then link what it does not track."""
    into = found.top / prefix
    repository.write_out(commit, into, found.top.parent / f"index{len(prefix.parts)}-{commit}")
    for path in repository.pointers(commit):
        _resolve(found, repository, into / path, repository.top / path, prefix / path)
    for path, wanted in repository.submodules(commit).items():
        inner = Repository(repository.top / path)
        if (inner.top / ".git").exists() and inner.has(wanted):
            _fill(found, inner, wanted, prefix / path, own)
        else:
            found.notes.append(
                f"submodule {prefix / path} is at {wanted[:12]} in '{found.ref}', which is not here: "
                f"what reads it counts as changed ('git submodule update --init' fetches it)"
            )
    for path in repository.others():
        there, here = into / path, repository.top / path
        if not os.path.lexists(there) and Path(os.path.realpath(here)) not in own:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here)


def _resolve(found: Checkout, repository: Repository, there: Path, here: Path, name: Path) -> None:
    """Put the content in the place of a pointer of Git LFS, if this machine has it."""
    data = _head(there)
    pointer = _POINTER.fullmatch(data)
    if pointer is None or _head(here) == data:  # it only mentions LFS; or the tree has not fetched it either
        return
    digest = pointer[1].decode()
    kept = repository.lfs_object(digest)
    source = kept if kept.is_file() else here if here.is_file() and _sha256(here) == digest else None
    if source is None:
        found.notes.append(
            f"{name} is a pointer of Git LFS in '{found.ref}', and its content is not here: "
            f"what reads it counts as changed ('git lfs fetch origin {found.commit[:12]}' fetches it)"
        )
        return
    mode = there.stat().st_mode
    there.unlink()
    if source == here and source.stat().st_mode & 0o111 == mode & 0o111:
        there.symlink_to(source)
    else:
        there.write_bytes(source.read_bytes())
        there.chmod(mode)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_POINTER_BYTES)
    except OSError:
        return b""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
