"""Notes what a node's Python code does with files of the project: reads, listings, look-ups, changes.

Most raise audit events (https://docs.python.org/3/library/audit_events.html). To ask whether a file is there raises
none, so the functions of ``os`` that do are wrapped. Files that a program is started with, as its arguments, count as
read. Forked children are seen, too, and those of multiprocessing (:mod:`.spawned`). Code in C is not: see
:mod:`.sight`.
"""

from __future__ import annotations

import contextlib
import fcntl
import genericpath
import glob
import importlib
import inspect
import linecache
import os
import pathlib
import pkgutil
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from . import spawned
from .importing import import_from_source, own_packages

__all__ = ["Notes", "absolute", "note_for_parent"]

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Audit events that make or change a file, and those that remove one → position of its path. ``os.mkdir`` is not among
# them: it is raised for directories that exist.
_MAKES = {"os.rename": 1, "os.link": 1, "os.symlink": 1, "os.truncate": 0}
_REMOVES = {"os.rename": 0, "os.remove": 0, "os.rmdir": 0}
_CHANGES = {*_MAKES, *_REMOVES}
_OPENS = {"sqlite3.connect": 0, "ctypes.dlopen": 0}
_LISTS = {"os.listdir", "os.scandir"}
_STARTS = {"subprocess.Popen": 1, "os.system": 0, "os.exec": 1, "os.posix_spawn": 1}  # → position of its arguments

# Through these somebody asks; those ask for the interpreter's own sake, and no result depends on the answer.


def _file(function: Any) -> str:
    """What its frames say; the standard library's own modules may be frozen."""
    return str(function.__code__.co_filename)


_TOOLS = tuple(map(_file, (os.makedirs, os.path.join, genericpath.exists, pathlib.Path.exists, glob.glob)))
_IMPORTS = "<frozen importlib"
_MACHINERY = (
    _IMPORTS,
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    *map(_file, (linecache.getline, inspect.getfile, traceback.print_exc, pkgutil.get_data)),
    os.path.dirname(str(importlib.__file__)) + os.sep,
    f"{os.sep}pkg_resources{os.sep}",
)


def absolute(path: Any, directory: int | None = None) -> str | None:
    """An absolute path; None if it is none. ``directory``: a descriptor that it is relative to."""
    if isinstance(path, int) and not isinstance(path, bool):
        try:
            return os.readlink(f"/proc/self/fd/{path}")
        except OSError:
            return None
    try:
        text = os.fsdecode("." if path is None else path)
    except TypeError:
        return None
    if text[:1] != "/":
        base = os.getcwd() if directory is None else absolute(directory)
        if base is None:
            return None
        text = os.path.join(base, text)
    return os.path.normpath(text) if "/." in text or "//" in text or text[-1:] == "/" else text


class Notes:
    """Of paths below ``watched`` and not below ``ignored``, tuples of prefixes. Below ``inputs`` nothing may change.
    ``descriptor``: in a child, of the file where its parent will look."""

    def __init__(
        self,
        watched: tuple[str, ...],
        ignored: tuple[str, ...],
        inputs: tuple[str, ...],
        descriptor: int | None = None,
    ) -> None:
        self.reads: set[str] = set()
        self.imports: set[str] = set()
        self.lists: set[str] = set()
        self.looks: set[str] = set()
        self.writes: set[str] = set()
        self.removals: set[str] = set()
        self._open: set[str] = set()
        self._owner = os.getpid() if descriptor is None else None
        self._from_children = _anonymous_file() if descriptor is None else descriptor
        self._watched, self._ignored, self._inputs = watched, ignored, inputs

    def start(self) -> None:
        """An audit hook cannot be removed: the process is expected to end with the node."""
        self._open = _open()
        for name in ("stat", "lstat", "access"):
            self._wrap(name)
        self._lead_spawned()
        sys.addaudithook(self._hook)

    def _lead_spawned(self) -> None:
        spawned.lead(self._from_children, self._statement)

    def _statement(self) -> str:
        """What makes a child note for this process."""
        prefixes = (self._watched, self._ignored, self._inputs)
        arguments = f"{self._from_children}, {prefixes!r}, {own_packages!r}"
        return f"from {__name__} import note_for_parent; note_for_parent({arguments})"

    def collect(self) -> None:
        """Take over what children noted."""
        size = os.fstat(self._from_children).st_size
        for line in os.pread(self._from_children, size, 0).split(b"\0"):
            kind, _, path = line.partition(b" ")
            if path:
                getattr(self, kind.decode()).add(os.fsdecode(path))

    def _note(self, kind: str, path: str) -> None:
        """Add to one of the sets; in a child, also where its parent will look."""
        found: set[str] = getattr(self, kind)
        if path not in found and os.getpid() != self._owner:
            with contextlib.suppress(OSError):  # the child has closed what it inherited
                os.write(self._from_children, kind.encode() + b" " + os.fsencode(path) + b"\0")
        found.add(path)

    def concerns(self, path: str) -> bool:
        return path.startswith(self._watched) and not path.startswith(self._ignored)

    def may_not_change(self, path: str) -> bool:
        return self.concerns(path) or path.startswith(self._inputs)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path = None if isinstance(args[0], int) else absolute(args[0])
            if path is None:
                return
            if args[2] & _WRITES:
                if self.may_not_change(path):
                    self._note("writes", path)
            elif self.concerns(path):
                by_import = sys._getframe(1).f_code.co_filename.startswith(_IMPORTS)
                self._note("imports" if by_import else "reads", path)
        elif event in _LISTS:
            path = absolute(args[0])
            # The directory itself is watched, too, so with a slash.
            if path is not None and self.concerns(path + "/") and not _for_the_interpreter(sys._getframe(1)):
                self._note("lists", path)
        elif event in _CHANGES:
            if event in _MAKES and (path := absolute(args[_MAKES[event]])) and self.may_not_change(path):
                self._note("writes", path)
            if event in _REMOVES and (path := absolute(args[_REMOVES[event]])) and self.may_not_change(path):
                self._removed(path)
        elif event in _OPENS:
            self._opened(args[_OPENS[event]])
        elif event in _STARTS:
            self._started(args[_STARTS[event]], args[2] if event == "subprocess.Popen" else None)
        elif event == "import" and args[0] in spawned.STARTERS:
            self._lead_spawned()

    def _removed(self, path: str) -> None:
        if path in self.writes:
            self.writes.discard(path)  # a temporary file of the node's own
        elif os.path.lexists(path):
            self._note("removals", path)

    def _opened(self, name: Any) -> None:
        """A database or a library."""
        if isinstance(name, str | bytes | os.PathLike) and name:
            text = os.fsdecode(name)
            path = absolute(text.removeprefix("file:").partition("?")[0] if text.startswith("file:") else text)
            if path is not None and self.concerns(path):
                self._note("reads", path)

    def _started(self, arguments: Any, directory: Any) -> None:
        """A program. A file that its arguments name is taken for read."""
        for word in _words(arguments):
            path = os.path.normpath(os.path.join(os.fsdecode(directory or os.getcwd()), word))
            if self.concerns(path):
                self._note("reads", path)

    def _wrap(self, name: str) -> None:
        plain: Callable[..., Any] = getattr(os, name)

        def asked(path: Any, *args: Any, **options: Any) -> Any:
            text = None if isinstance(path, int) else absolute(path, options.get("dir_fd"))
            if text is not None and self.concerns(text) and not _for_the_interpreter(sys._getframe(1)):
                self._note("looks", text)
            return plain(path, *args, **options)

        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if plain in able:
                able.add(asked)
        setattr(os, name, asked)

    def see_open(self) -> None:
        """Note the files that are mapped or open now and were not at the start, whoever opened them."""
        self.reads.update(path for path in _open() - self._open if self.concerns(path))


def note_for_parent(
    descriptor: int, prefixes: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], packages: list[str]
) -> None:
    """In a child of multiprocessing: note what it does from now on; import from source what counts by its source."""
    sys.dont_write_bytecode = True
    import_from_source(packages)
    Notes(*prefixes, descriptor).start()


def _anonymous_file() -> int:
    """To append to; on no disk, where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("cbuild-notes")
    else:
        import tempfile

        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _open() -> set[str]:
    """According to the kernel: empty where it does not tell."""
    found = set()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
        found = {line[line.find("/") :] for line in lines if "/" in line}
        for entry in os.scandir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(entry.path))
    return found


def _for_the_interpreter(frame: FrameType | None) -> bool:
    """Whether the import system or the like asks. To resolve a path is not to ask for what is there, either."""
    while frame is not None and frame.f_code.co_filename in _TOOLS:
        if frame.f_code.co_name == "_joinrealpath":
            return True
        frame = frame.f_back
    return frame is not None and any(each in frame.f_code.co_filename for each in _MACHINERY)


def _words(arguments: Any) -> Iterator[str]:
    """The words of a command: as given, of what a shell would make of each, and what follows an ``=``."""
    given = [arguments] if isinstance(arguments, str | bytes | os.PathLike) else list(arguments or ())
    for each in given:
        word = os.fsdecode(each) if isinstance(each, str | bytes | os.PathLike) else str(each)
        try:
            parts = shlex.split(word)
        except ValueError:
            parts = word.split()
        for part in (word, *parts):
            yield part
            if "=" in part:
                yield part.partition("=")[2]
