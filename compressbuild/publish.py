"""``build/<target>/``: what a target publishes, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .digest import Digest, StatCache, bytes_digest, read_regular
from .errors import CbuildError

if TYPE_CHECKING:
    from .store import Store, SyncQueue, Tree

__all__ = ["SEAL", "Publisher", "Staged"]

SEAL = "provenance.json"
"""The file that tells what the others are."""


_NAMED = 3  # targets that an error names


class Staged(NamedTuple):
    """A directory that is complete, and beside its place."""

    target: str
    directory: Path


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
            files = [name for name, _ in _files(str(directory)) if name not in {*beside, SEAL}]
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
                    with contextlib.suppress(OSError):  # it is in nobody's way
                        path.unlink()

    def publish(
        self,
        target: str,
        artifact: Digest,
        files: dict[str, bytes],
        made_of: Digest,
        seal: Callable[[Path, Tree], bytes],
    ) -> bool:
        """:meth:`stage` and :meth:`place` one target. True if the directory had to be written, False if it was there
        already, byte for byte."""
        staged = self.stage(target, artifact, files, made_of, seal)
        self.place([staged] if staged is not None else [])
        return staged is not None

    def stage(
        self,
        target: str,
        artifact: Digest,
        files: dict[str, bytes],
        made_of: Digest,
        seal: Callable[[Path, Tree], bytes],
    ) -> Staged | None:
        """Write what ``build/<target>`` is to hold beside its place: the artifact, ``files`` and what ``seal(directory,
        tree)`` says of them. None if its place holds that already, byte for byte.

        ``made_of``: digest of what else ``seal`` tells, so that it need not be asked again.
        """
        tree = self._store.cas.read_tree(artifact)
        taken = {file.path for file in tree.files} & {*files, SEAL}
        if taken:
            raise CbuildError(f"target '{target}' makes a file named '{min(taken)}', which the build itself writes")
        if self._current(self.path(target), tree, files, made_of, seal):
            return None
        staged = self.root / f".{target}.{os.getpid()}"
        with self._explained([target]):
            if not os.path.isdir(self.root):
                self.root.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(staged):
                shutil.rmtree(staged, ignore_errors=True)
            self._store.cas.materialise(artifact, staged, writable=True)
            for name, data in files.items():
                if "/" in name:
                    (staged / name).parent.mkdir(parents=True, exist_ok=True)
                _write(f"{staged}/{name}", data)
            _write(f"{staged}/{SEAL}", seal(staged, tree))
        return Staged(target, staged)

    def place(self, staged: Sequence[Staged]) -> None:
        """Put staged directories in their places. They reach the disk together before the first of them moves, and
        their names together after the last; each appears whole, or stays as it was."""
        if not staged:
            return
        from .store import SyncQueue

        cache = self._store.dir.queue
        with self._explained([target for target, _ in staged]):
            same = os.stat(self.root).st_dev == os.stat(self._store.dir.root).st_dev
            queue = SyncQueue(
                self._store.dir.fs, str(self.root), enabled=cache.enabled, pace=cache.pace if same else None
            )
            for _, directory in staged:
                _add_all(queue, str(directory))
            queue.drain()
        for target, directory in staged:
            with self._explained([target]):
                self._move(target, directory)
        with self._explained([target for target, _ in staged]):
            queue.add_dir(str(self.root))
            queue.drain()

    def _move(self, target: str, staged: Path) -> None:
        while True:
            try:
                os.rename(staged, self.path(target))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return
            self.withdraw(target)  # what an earlier build published, or one that runs beside this: the later one stays

    @contextmanager
    def _explained(self, targets: Sequence[str]) -> Iterator[None]:
        """Turn an OSError into a CbuildError that says what could not be published."""
        try:
            yield
        except OSError as error:
            few = ", ".join(f"'{target}'" for target in targets[:_NAMED])
            more = f" and {len(targets) - _NAMED} more" if len(targets) > _NAMED else ""
            one = len(targets) == 1
            what = f"target {few} cannot be published in {self.path(targets[0])}"
            raise CbuildError(
                f"{what if one else f'targets {few}{more} cannot be published in {self.root}'}: "
                f"{error.strerror or error}",
                hint=f"{'its artifact is' if one else 'their artifacts are'} in the cache; once the directory can be "
                "written, build again",
            ) from error

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
            if read_regular(path) != seal(directory, tree):
                raise _Outdated
            return True

        place = f"{directory}/"
        try:
            if dict(_files(str(directory))) != dict.fromkeys((*expected, SEAL), True):
                return False
            if any(self._stat.digest(place + name) != digest for name, digest in expected.items()):
                return False
            self._stat.memo(place + SEAL, f"seals {made_of}", sealed)
            return True
        except (OSError, _Outdated):  # a file is missing, or another build is replacing the directory
            return False


class _Outdated(Exception):
    """The seal tells of another build."""


def _files(directory: str, above: str = "") -> Iterator[tuple[str, bool]]:
    """Paths below a directory, relative to it, of all that is no directory; whether each is a regular file. A link to
    equal bytes is not what was published: whoever owns its target can change them."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{above}{entry.name}/")
            else:
                yield above + entry.name, entry.is_file(follow_symlinks=False)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def _add_all(queue: SyncQueue, directory: str) -> None:
    """A directory, with all that is in it, is to be synced."""
    found = [directory]
    for path in found:  # grows meanwhile
        queue.add_dir(path)
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.path)
                else:
                    queue.add_content(entry.path)


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
