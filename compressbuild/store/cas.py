"""Content-addressed storage: digest → bytes, verified whenever they are used."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import Literal

import msgspec

from compressbuild.digest import Digest, bytes_digest, file_digest, read_regular
from compressbuild.errors import StoreError
from compressbuild.store.cachedir import CacheDir
from compressbuild.store.fs import UNREADABLE, explained, reread
from compressbuild.store.objects import Objects, hash_object
from compressbuild.store.tree import BadOutput, Found, Tree, TreeFile, scan

__all__ = ["CAS", "CorruptObject", "Problem"]


class Problem(msgspec.Struct, frozen=True):
    """An object that cannot be used. A corrupt one has been moved to the quarantine."""

    digest: Digest
    reason: Literal["missing", "corrupt"]

    def __str__(self) -> str:
        return f"object {self.digest} is {self.reason}"


class CorruptObject(StoreError):
    """An object is missing, or its bytes are not those of its digest; the action that made it must run again."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"cached {problem}", hint="it will be rebuilt; `cbuild cache verify` checks all the others")
        self.digest = problem.digest
        self.reason = problem.reason


class CAS(Objects):
    """Objects at ``cas/ab/<digest>``: files of artifacts, and the trees that list them.

    Nothing that stands there is believed unverified: an object is used if its stat is the one at which its bytes were
    last hashed, or after hashing them again. OSErrors become StoreErrors.
    """

    def __init__(self, cachedir: CacheDir) -> None:
        super().__init__(cachedir)
        self._trees: dict[Digest, Tree] = {}

    # -- putting ---------------------------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> Digest:
        digest = bytes_digest(data)
        with explained("store an object"):
            if not self._present(digest):
                checked = time.time_ns()
                temporary = self._dir.temporary()
                try:
                    self._dir.fs.write(temporary, data)
                    self._admit(temporary, digest, checked)
                except OSError:
                    self._dir.discard(temporary)
                    raise
        return digest

    def put_tree(self, directory: str | os.PathLike[str], *, consume: bool = False) -> Tree:
        """Store a directory of regular files. StoreError if it holds a link or a special file."""
        root = os.fspath(directory)
        with explained(f"store {root}"):
            found, empty = scan(root)
            files = [self._put_found(root, one, consume=consume) for one in found]
        tree = Tree(tuple(files), tuple(empty))
        self._trees[self.put_bytes(tree.encode())] = tree
        return tree

    def _put_found(self, root: str, found: Found, *, consume: bool) -> TreeFile:
        digest, size = self._put(f"{root}/{found.path}", found.stat, consume=consume)
        return TreeFile(found.path, digest, size, bool(found.stat.st_mode & stat.S_IXUSR))

    def _put(self, path: str, st: os.stat_result, *, consume: bool) -> tuple[Digest, int]:
        if consume and st.st_nlink == 1 and st.st_uid == os.geteuid():  # else somebody may write to it later
            return self._adopt(path, st)
        checked = time.time_ns()
        temporary = self._dir.temporary()
        try:
            digest, size = self._dir.fs.copy(path, temporary)
            if self._present(digest):
                self._dir.discard(temporary)
            else:
                self._admit(temporary, digest, checked)
        except OSError:
            self._dir.discard(temporary)
            raise
        return digest, size

    def _adopt(self, path: str, st: os.stat_result) -> tuple[Digest, int]:
        checked = time.time_ns()
        digest = file_digest(path)
        if not self._present(digest):
            self._dir.fs.set_mode(path, 0o444)
            new = os.lstat(path)
            if (new.st_mtime_ns, new.st_size, new.st_ino, new.st_dev) != (
                st.st_mtime_ns,
                st.st_size,
                st.st_ino,
                st.st_dev,
            ):
                raise BadOutput(f"{path} was written to while it was being stored", hint="let the writer finish first")
            self._admit(path, digest, checked)
        return digest, st.st_size

    def take(self, path: Path, digest: Digest) -> bool:
        """Move in a file that nobody else writes to. False, and it stays, if its bytes are not those of ``digest``."""
        with explained("store an object"):
            checked = time.time_ns()
            if file_digest(os.fspath(path)) != digest:
                return False
            if not self._present(digest):
                self._dir.fs.set_mode(os.fspath(path), 0o444)
                self._admit(os.fspath(path), digest, checked)
        return True

    def _present(self, digest: Digest) -> bool:
        if self.check(digest) is not None:
            return False
        if not self.verified.is_durable(digest):  # another process may not have synced it yet
            self._dir.queue.add(self._dir.object(digest))
            self.verified.mark_durable(digest, self._dir.queue.enabled)
        return True

    def _admit(self, path: str, digest: Digest, checked: int) -> None:
        """Move a file in whose bytes were hashed since ``checked``."""
        inode = os.lstat(path).st_ino
        target = self._dir.object(digest)
        self._dir.queue.move_in(path, target)
        st = os.lstat(target)
        if st.st_ino == inode:  # else another process has just put the same object, which this one did not hash
            self.verified.add(digest, st, checked, durable=self._dir.queue.enabled)

    # -- checking --------------------------------------------------------------------------------------------------

    def check(self, digest: Digest) -> Problem | None:
        """Is the object there and sound? One stat if it is as it was when last hashed; a corrupt one is quarantined."""
        path = self._dir.object(digest)
        with explained("read an object"):
            try:
                st = os.lstat(path)
                if self.verified.holds(digest, st):
                    return None
                checked = time.time_ns()
                sound = stat.S_ISREG(st.st_mode) and hash_object(path) == digest
            except FileNotFoundError:
                return Problem(digest, "missing")
            if not sound:
                return self._reject(digest, st.st_ino)
            self.verified.recheck(digest, st, checked)
        return None

    def check_tree(self, digest: Digest) -> tuple[Problem, ...]:
        """All that is wrong with a tree and the objects that it lists; nothing if it can be materialised."""
        if problem := self.check(digest):
            return (problem,)
        try:
            tree = self.read_tree(digest)
        except CorruptObject as error:
            return (Problem(error.digest, error.reason),)
        found = (self.check(file.digest) for file in tree.files)
        return tuple(problem for problem in found if problem is not None)

    def read_tree(self, digest: Digest) -> Tree:
        """The tree, verified. CorruptObject if it is missing, damaged or no valid tree."""
        tree = self._trees.get(digest)
        if tree is None:
            data = self.read(digest)
            try:
                tree = self._trees[digest] = Tree.decode(data)
            except ValueError as error:
                raise CorruptObject(self._spoil(digest)) from error
        return tree

    # -- getting ---------------------------------------------------------------------------------------------------

    def materialise(self, digest: Digest, destination: Path, *, writable: bool = False) -> None:
        """Write the tree ``digest`` to the new directory ``destination``, by reflink or copy, never by link.

        What was written is verified. CorruptObject if an object is missing or corrupt; then, as after any error, the
        destination is removed again. Files are mode 0444, or 0644 if ``writable`` (executable ones 0555, 0755), less
        the umask.
        """
        tree = self.read_tree(digest)
        root = os.fspath(destination)
        with explained(f"write {root}"):
            try:
                try:
                    self._dir.fs.make_dir(root)
                except FileNotFoundError:
                    self._dir.fs.make_dirs(os.path.dirname(os.path.abspath(root)))
                    self._dir.fs.make_dir(root)
            except FileExistsError:
                raise StoreError(f"{root} already exists", hint="remove it first") from None
            try:
                made = {root}
                for path in tree.empty:
                    self._dir.fs.make_dirs(f"{root}/{path}")
                for file in tree.files:
                    target = f"{root}/{file.path}"
                    if (parent := os.path.dirname(target)) not in made:
                        self._dir.fs.make_dirs(parent)
                        made.add(parent)
                    mode = 0o644 if writable else 0o444
                    self._copy_out(file, target, mode | (0o111 if file.executable else 0))
            except BaseException:  # Ctrl-C too: half a directory must not stay, and the error goes on
                self._dir.fs.remove_tree(root)
                raise

    def _copy_out(self, file: TreeFile, target: str, mode: int) -> None:
        source = self._dir.object(file.digest)
        for last in (False, True):
            try:
                if self._dir.fs.copy(source, target, mode) == (file.digest, file.size):
                    return
            except OSError as error:
                if error.filename != source or error.errno not in (errno.ENOENT, *UNREADABLE):
                    raise
            self._dir.discard(target)
            self._forget(file.digest)  # its stat says that it is sound: it is read again
            if problem := self.check(file.digest) or (self._spoil(file.digest) if last else None):
                raise CorruptObject(problem)

    # -- the rest --------------------------------------------------------------------------------------------------

    def remove(self, digest: Digest) -> None:
        """Remove an object; nobody may be using it."""
        with explained("remove an object"):
            self._dir.discard(self._dir.object(digest))
        self._forget(digest)

    def read(self, digest: Digest) -> bytes:
        """The bytes of an object, verified. CorruptObject if it is missing or damaged."""
        path = self._dir.object(digest)
        inode, data = None, None
        with explained("read an object"):
            try:
                inode, data = reread(lambda: (os.lstat(path).st_ino, read_regular(path)))
            except FileNotFoundError:
                raise CorruptObject(Problem(digest, "missing")) from None
            except OSError as error:
                if error.errno not in UNREADABLE:
                    raise
        if data is not None and bytes_digest(data) == digest:
            return data
        if problem := self._reject(digest, inode):
            raise CorruptObject(problem)
        return self.read(digest)

    def _reject(self, digest: Digest, inode: int | None) -> Problem | None:
        """Put aside the file that was found bad, or whatever stands there. Another process may have done so while this
        one read it, and may have put a sound object in its place: what is wrong with that one, if anything."""
        with explained("quarantine an object"):
            mine = self._dir.quarantine(self._dir.object(digest), inode)
        self._forget(digest)
        return Problem(digest, "corrupt") if mine else self.check(digest)

    def _spoil(self, digest: Digest) -> Problem:
        """Put aside whatever stands there."""
        with explained("quarantine an object"):
            self._dir.quarantine(self._dir.object(digest))
        self._forget(digest)
        return Problem(digest, "corrupt")

    def _forget(self, digest: Digest) -> None:
        self.verified.drop(digest)
        self._trees.pop(digest, None)
