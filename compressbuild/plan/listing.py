"""Files that a Compressfile lists: by path, as a directory with all below it, or by a glob.

Links are followed, for a node that opens one reads what it names. A link that leads back up is refused by name.
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterator

import msgspec

from ..digest import Digest, FileStat, Seen, StatCache
from ..errors import Diagnostic, Mark
from ..globbing import find

__all__ = ["Listing", "Listings"]


class Listing(msgspec.Struct, frozen=True):
    """What a pattern stands for, by path relative to the project. ``folders``: of a listed directory, where files may
    come and go; ``empty``: those of them that hold nothing."""

    pattern: str
    files: dict[str, Seen]
    folders: dict[str, FileStat] = {}
    empty: tuple[str, ...] = ()
    executable: frozenset[str] = frozenset()

    def parts(self) -> dict[str, Digest]:
        """What joins the key. Code can see whether a file is executable, and a directory without files."""
        files = {path: seen.digest for path, seen in self.files.items()}
        files |= {path: f"{files[path]} executable" for path in self.executable}
        return files | {f"{path}/": "empty" for path in self.empty}


class Listings:
    """Looks patterns up, each once. What cannot be read, or is not there, joins ``problems``."""

    def __init__(self, root: str, title: str, digests: StatCache, problems: list[Diagnostic]) -> None:
        self._root = root
        self._title = title
        self._digests = digests
        self._problems = problems
        self._found: dict[str, Listing] = {}

    def get(self, pattern: str, mark: Mark) -> Listing:
        if pattern not in self._found:
            self._found[pattern] = self._look(pattern, mark)
        return self._found[pattern]

    def forget(self) -> None:
        self._found.clear()

    def _look(self, pattern: str, mark: Mark) -> Listing:
        folders: dict[str, FileStat] = {}
        empty: list[str] = []
        names: list[str] = []
        known = len(self._problems)
        for hit in self._hits(pattern, mark):
            if os.path.isdir(self._full(hit)):
                for folder, info, files, bare in self._walk(hit, mark):
                    folders[folder] = info
                    names += files
                    empty += [folder] if bare else []
            else:
                names.append(os.path.normpath(hit))
        found: dict[str, Seen] = {}
        executable: set[str] = set()
        for path in sorted(names):
            try:
                path.encode()
                found[path] = Seen.of(self._full(path), self._digests.digest)
                executable.update([path] if os.stat(self._full(path)).st_mode & stat.S_IXUSR else [])
            except UnicodeEncodeError:
                self._complain(f"the name {os.fsencode(path)!r} is not UTF-8", mark, "rename it, or do not list it")
            except OSError as error:
                self._complain(f"cannot read '{path}': {error.strerror}", mark)
        if not names and len(self._problems) == known:
            self._complain(f"there is no file '{pattern}'", mark, f"paths are relative to {self._title}'s directory")
        return Listing(pattern, found, folders, tuple(sorted(empty)), frozenset(executable))

    def _complain(self, message: str, mark: Mark, hint: str | None = None) -> None:
        self._problems.append(Diagnostic(message, mark, hint))

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _walk(
        self, folder: str, mark: Mark | None, above: tuple[tuple[int, int], ...] = ()
    ) -> Iterator[tuple[str, FileStat, list[str], bool]]:
        """Each directory from ``folder`` down: its path, stat, files, and whether it is empty."""
        folder = os.path.normpath(folder)
        try:
            checked = time.time_ns()
            info = os.stat(self._full(folder))
            with os.scandir(self._full(folder)) as entries:
                inside = [(os.path.join(folder, entry.name), entry.is_dir()) for entry in entries]
        except OSError as error:
            if mark is not None:
                self._complain(f"cannot read '{folder}': {error.strerror}", mark)
            return
        identity = (info.st_dev, info.st_ino)
        if identity in above:
            if mark is not None:
                self._complain(f"the link '{folder}' leads back to a directory above it", mark, "remove the link")
            return
        yield folder, FileStat.of(info, checked), [path for path, is_dir in inside if not is_dir], not inside
        for path, is_dir in inside:
            if is_dir:
                yield from self._walk(path, mark, (*above, identity))

    def changed(self, listing: Listing) -> str | None:
        """The path of something that changed since; None if nothing has."""
        for path, seen in listing.files.items():
            if seen.changed(self._full(path)):
                return path
        certain = bool(listing.folders)
        for path, then in listing.folders.items():
            try:
                now = os.stat(self._full(path))
            except OSError:
                return path
            if FileStat.of(now, then.checked) != then:
                return path
            certain = certain and then.matches(now)
        return None if certain else min(listing.files.keys() ^ set(self._names(listing.pattern)), default=None)

    def _names(self, pattern: str) -> Iterator[str]:
        for hit in self._hits(pattern):
            if os.path.isdir(self._full(hit)):
                yield from (path for _, _, files, _ in self._walk(hit, None) for path in files)
            else:
                yield os.path.normpath(hit)

    def watched(self, pattern: str) -> Iterator[str]:
        """Directories in which a file that appears or goes changes what a pattern lists."""
        hits = self._hits(pattern)
        if hits != [pattern]:
            above = os.path.dirname(pattern)
            deep = glob.has_magic(above)
            while glob.has_magic(above):
                above = os.path.dirname(above)
            yield os.path.normpath(self._full(above))
            hits += [above] if deep else []
        for hit in hits:
            if os.path.isdir(self._full(hit)):
                yield from (os.path.normpath(self._full(folder)) for folder, *_ in self._walk(hit, None))

    def sight(self, listing: Listing) -> tuple[list[str], list[str], list[str]]:
        """Absolute paths of files, of directories with all below, and of those whose names a glob looks through."""
        inside = listing.folders
        trees = [
            path
            for path in inside
            if os.path.dirname(path) not in inside or os.path.islink(self._full(path))  # what is linked lies elsewhere
        ]
        files = [
            path for path in listing.files if os.path.dirname(path) not in inside or os.path.islink(self._full(path))
        ]
        globbed = self._hits(listing.pattern) != [listing.pattern]
        folders = list(self.watched(listing.pattern)) if globbed else []
        return [self._full(path) for path in files], [self._full(path) for path in trees], folders

    def _hits(self, pattern: str, mark: Mark | None = None) -> list[str]:
        """What a pattern stands for: itself, if there is something of that name. Nothing, if a directory cannot be
        listed that it leads through: files of it would be in no key."""
        if os.path.lexists(self._full(pattern)):
            return [pattern]
        try:
            return find(pattern, self._root)
        except OSError as error:
            if mark is not None:
                self._complain(f"cannot list '{os.path.relpath(error.filename, self._root)}': {error.strerror}", mark)
            return []
