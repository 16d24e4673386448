"""``build/<target>/``: what a target publishes, whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .digest import Digest, StatCache, bytes_digest
from .errors import CbuildError

if TYPE_CHECKING:
    from .store import Store, Tree

__all__ = ["SEAL", "Publisher"]

SEAL = "provenance.json"
"""The file that tells what the others are."""


class Publisher:
    """Writes target directories under ``root`` (``build``). A directory appears complete, or stays as it was."""

    def __init__(self, root: Path, store: Store, stat: StatCache) -> None:
        self.root = root
        self._store = store
        self._stat = stat

    def path(self, target: str) -> Path:
        return self.root / target

    def size(self, target: str, beside: Collection[str]) -> int | None:
        """Bytes of a published artifact, without the files ``beside`` it; None if nothing is published."""
        directory = self.path(target)
        try:
            files = [name for name in _files(str(directory)) if name not in {*beside, SEAL}]
            return sum((directory / name).stat().st_size for name in files)
        except OSError:  # not published, or replaced at this moment
            return None

    def sweep(self) -> None:
        """Remove what a killed build left half-written."""
        for path in self.root.glob(".*.*"):
            owner = path.name.removesuffix(".old").rpartition(".")[2]
            if owner.isdigit() and not _alive(int(owner)):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:  # a seal
                    path.unlink(missing_ok=True)

    def publish(
        self,
        target: str,
        artifact: Digest,
        files: dict[str, bytes],
        made_of: Digest,
        seal: Callable[[Path, Tree], bytes],
    ) -> bool:
        """Make ``build/<target>`` hold the artifact, ``files`` and what ``seal(directory, tree)`` says of them.

        ``made_of``: digest of what else ``seal`` tells, so that it need not be asked again. True if the directory had
        to be written, False if it was there already, byte for byte.
        """
        tree = self._store.cas.read_tree(artifact)
        taken = {file.path for file in tree.files} & {*files, SEAL}
        if taken:
            raise CbuildError(f"target '{target}' makes a file named '{min(taken)}', which the build itself writes")
        final = self.path(target)
        if self._current(final, tree, files, made_of, seal):
            return False
        try:
            self._replace(target, artifact, files, tree, seal)
        except OSError as error:
            raise CbuildError(
                f"target '{target}' cannot be published in {final}: {error.strerror or error}",
                hint="its artifact is in the cache; once the directory can be written, build again",
            ) from error
        return True

    def _replace(
        self, target: str, artifact: Digest, files: dict[str, bytes], tree: Tree, seal: Callable[[Path, Tree], bytes]
    ) -> None:
        """Write the directory beside its place, then put it there."""
        final = self.path(target)
        self.root.mkdir(parents=True, exist_ok=True)
        staged = self.root / f".{target}.{os.getpid()}"
        shutil.rmtree(staged, ignore_errors=True)
        self._store.cas.materialise(artifact, staged, writable=True)
        for name, data in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_bytes(data)
        (staged / SEAL).write_bytes(seal(staged, tree))
        _sync(staged)
        while True:
            self.withdraw(target)
            try:
                os.rename(staged, final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                continue  # another build has just published the same target: the later one stays
            _sync_directory(self.root)
            return

    def reject(self, target: str, artifact: Digest, files: dict[str, bytes], where: Path) -> OSError | None:
        """Leave what missed a gate at ``where``, for inspection: its files and ``files``, without a seal. Returns what
        prevented it: the artifact is in the cache all the same."""
        staged = where.with_name(f".{target}.{os.getpid()}")
        try:
            for path in (where, staged):
                shutil.rmtree(path, ignore_errors=True)
            where.parent.mkdir(parents=True, exist_ok=True)
            self._store.cas.materialise(artifact, staged, writable=True)
            for name, data in files.items():
                (staged / name).write_bytes(data)
            try:
                os.rename(staged, where)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                shutil.rmtree(staged)  # another build has just put the same there
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            return error
        return None

    def withdraw(self, target: str) -> bool:
        """Remove what an earlier build published: the Compressfile no longer asks for it."""
        aside = self.root / f".{target}.{os.getpid()}.old"
        try:
            os.rename(self.path(target), aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CbuildError(
                f"{self.path(target)} cannot be taken back: {error.strerror or error}",
                hint="it is not what the Compressfile asks for now; make its directory writable, then build again",
            ) from error
        try:
            shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()
        except OSError as error:
            raise CbuildError(
                f"{aside} cannot be removed: {error.strerror or error}",
                hint=f"'{target}' is no longer published; what is left there is rubbish",
            ) from error
        return True

    def reseal(self, target: str, seal: bytes) -> None:
        """Replace the seal of a published target, whole or not at all."""
        staged = self.root / f".{target}.{os.getpid()}"
        with staged.open("wb") as file:
            file.write(seal)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, self.path(target) / SEAL)
        _sync_directory(self.path(target))

    def _current(
        self, directory: Path, tree: Tree, files: dict[str, bytes], made_of: Digest, seal: Callable[[Path, Tree], bytes]
    ) -> bool:
        """Whether a directory holds these bytes, their seal, and nothing else."""
        expected = {file.path: file.digest for file in tree.files}
        expected |= {name: bytes_digest(data) for name, data in files.items()}

        def sealed(path: Path) -> bool:
            if path.read_bytes() != seal(directory, tree):
                raise _Outdated
            return True

        place = f"{directory}/"
        try:
            if any(not _is_regular(place + name) for name in (*expected, SEAL)):
                return False
            if any(self._stat.digest(place + name) != digest for name, digest in expected.items()):
                return False
            self._stat.memo(place + SEAL, f"seals {made_of}", sealed)
            return set(_files(str(directory))) == {*expected, SEAL}
        except (OSError, _Outdated):  # a file is missing, or another build is replacing the directory
            return False


class _Outdated(Exception):
    """The seal tells of another build."""


def _is_regular(path: str) -> bool:
    """A link to equal bytes is not what was published: whoever owns its target can change them."""
    return stat.S_ISREG(os.lstat(path).st_mode)


def _files(directory: str, above: str = "") -> Iterator[str]:
    """Paths below a directory, relative to it, of all that is no directory."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{above}{entry.name}/")
            else:
                yield above + entry.name


def _sync(directory: Path) -> None:
    """A rename may reach the disk before the bytes of what it names: then a power failure leaves empty files in a
    directory that looks published."""
    for base, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(os.path.join(base, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_directory(base)


def _sync_directory(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
