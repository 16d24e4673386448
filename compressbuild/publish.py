"""``build/<target>/``: what a target publishes, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .digest import Digest, StatCache, bytes_digest
from .errors import CbuildError
from .store import Store, Tree

__all__ = ["Publisher"]


class Publisher:
    """Writes target directories under ``root`` (``build``). A directory appears complete, or stays as it was."""

    def __init__(self, root: Path, store: Store, stat: StatCache) -> None:
        self.root = root
        self._store = store
        self._stat = stat

    def path(self, target: str) -> Path:
        return self.root / target

    def sweep(self) -> None:
        """Remove what a killed build left half-written."""
        for path in self.root.glob(".*.*"):
            owner = path.name.removesuffix(".old").rpartition(".")[2]
            if owner.isdigit() and not _alive(int(owner)):
                shutil.rmtree(path, ignore_errors=True)

    def publish(
        self, target: str, artifact: Digest, files: dict[str, bytes], seal: Callable[[Path, Tree], dict[str, bytes]]
    ) -> bool:
        """Make ``build/<target>`` hold the artifact, ``files`` and what ``seal(directory, tree)`` says of them.

        True if it had to be written, False if it was there already, byte for byte.
        """
        tree = self._store.cas.read_tree(artifact)
        taken = {file.path for file in tree.files} & {*files, "provenance.json"}
        if taken:
            raise CbuildError(f"target '{target}' makes a file named '{min(taken)}', which the build itself writes")
        final = self.path(target)
        if self._intact(final, tree, files):
            sealed = seal(final, tree)
            if self._intact(final, tree, {**files, **sealed}, exact=True):
                return False
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f".{target}.{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        self._store.cas.materialise(artifact, staged, writable=True)
        for name, data in files.items():
            (staged / name).write_bytes(data)
        for name, data in seal(staged, tree).items():
            (staged / name).write_bytes(data)
        while True:
            self.withdraw(target)
            try:
                os.rename(staged, final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue  # another build has just published the same target: the later one stays
            return True

    def withdraw(self, target: str) -> bool:
        """Take back what an earlier build published: it is not what the Compressfile asks for now."""
        aside = self.root / f".{target}.{os.getpid()}.old"
        try:
            os.rename(self.path(target), aside)
        except FileNotFoundError:
            return False
        shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()
        return True

    def _intact(self, directory: Path, tree: Tree, files: dict[str, bytes], *, exact: bool = False) -> bool:
        """Whether a directory holds these bytes, and (``exact``) nothing else."""
        expected = {file.path: file.digest for file in tree.files}
        expected |= {name: bytes_digest(data) for name, data in files.items()}
        try:
            if any(self._stat.digest(directory / name) != digest for name, digest in expected.items()):
                return False
            present = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if not p.is_dir()}
        except OSError:  # a file is missing, or another build is replacing the directory
            return False
        return not exact or present == expected.keys()


def _files(directory: str, above: str = "") -> Iterator[str]:
    """Paths below a directory, relative to it, of all that is no directory."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{above}{entry.name}/")
            else:
                yield above + entry.name


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
