"""The no-op: nothing changed, so nothing is loaded. One state file, then one stat for each file it was about.

This module runs before anything else and imports only what the interpreter has already: no click, no YAML, no plugin.
After a build in which every target was published, :mod:`compressbuild.build.state.kept` writes a state. It names every
input (Compressfile, code, listed files, installed plugins) and every output (published files, cache records, objects).
"""

import _imp
import _operator
import gc
import itertools
import marshal
import posix
import sys

FORMAT = 8
ABSENT = 2**64 - 1
_SHARE = 4000  # files for which a further process is worth its fork


_FOUR = _operator.attrgetter("st_mtime_ns", "st_size", "st_ino", "st_ctime_ns")


def signature(path: str) -> "tuple[int, int, int, int]":
    """What a file must still look like; four times ABSENT if it is not there."""
    try:
        found: tuple[int, int, int, int] = _FOUR(posix.stat(path))
    except OSError:
        return (ABSENT, ABSENT, ABSENT, ABSENT)
    return found


def signatures(paths: "list[str]") -> "list[tuple[int, int, int, int]]":
    """The signature of each. No line of Python runs for a file that is there."""
    found: list[tuple[int, int, int, int]] = []
    while len(found) < len(paths):
        try:
            found.extend(map(_FOUR, map(posix.stat, itertools.islice(paths, len(found), None))))
        except OSError:  # what was found before it is kept
            found.append(signature(paths[len(found)]))
    return found


def locate(argv: "list[str]") -> "tuple[str, str, list[str]]":
    """For a command line: the directory of the Compressfile with its slash, or ""; the state file; what is asked.

    What is asked is the command line, and of a Compressfile that was found above, where in its project the command
    runs: a relative ``--cache-dir`` means another directory there.
    """
    root = None
    for number, word in enumerate(argv):
        value = None
        if word in ("-f", "--file"):
            value = argv[number + 1] if number + 1 < len(argv) else None
        elif word.startswith("--file="):
            value = word[7:]
        elif word.startswith("-f"):
            value = word[2:]
        if value is not None:
            root = value[: value.rfind("/") + 1]
    asked = argv
    if root is None:
        root = ""
        if signature("Compressfile")[0] == ABSENT:
            from .place import above, below

            root = above()
            asked = [*argv, "", below(root)]
    name = 5381
    for char in "\0".join(asked):
        name = (name * 33 + ord(char)) & 0xFFFFFFFFFFFF
    return root, f"{root}.cbuild/noop/{name:012x}", asked


def identity() -> "tuple[object, ...]":
    """The interpreter with its search path, and the machine: a state made by others says nothing here."""
    return (FORMAT, sys.version, sys.prefix, tuple(sys.path), tuple(posix.uname()))


def check(argv: "list[str]") -> "tuple[str, str] | None":
    """If this very command has nothing to do: the text to print, and the Compressfile if it was found above (or "").
    Else None."""
    root, path, asked = locate(argv)
    collecting = gc.isenabled()
    gc.disable()  # a state can hold 100,000 strings, none of them garbage
    try:
        made_by, said, environment, names, signatures, text = marshal.loads(read(path))
        if made_by != identity() or said != asked:
            return None
        for name, value in environment:
            if posix.environ.get(name) != value:
                return None
        if not _all_same(root, names.split("\0"), memoryview(signatures).cast("Q")):
            return None
        return str(text), f"{root}Compressfile" if asked is not argv else ""
    except (OSError, ValueError, EOFError, TypeError):
        return None
    finally:
        if collecting:
            gc.enable()


def sealed(data: bytes) -> bytes:
    """A state with its checksum: marshal believes whatever it is given."""
    return _imp.source_hash(FORMAT, data) + data


def read(path: str) -> bytes:
    """The data of a state; ValueError if it is damaged or no regular file, for a pipe would be waited for."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as file:
        if posix.fstat(descriptor).st_mode & 0o170000 != 0o100000:
            raise ValueError(path)
        whole = file.read()
    if sealed(whole[8:]) != whole:
        raise ValueError(path)
    return whole[8:]


def _all_same(root: str, files: "list[str]", expected: "memoryview[int]") -> bool:
    """Whether every file has its signature (four numbers in ``expected``). Many files are shared among processes."""
    share = share_of(len(files))
    children = []
    for first in range(share, len(files), share):
        pid = posix.fork()
        if pid == 0:
            status = 1
            try:
                status = 0 if _same(root, files, expected, first, first + share) else 1
            finally:
                posix._exit(status)
        children.append(pid)
    same = _same(root, files, expected, 0, share)
    for pid in children:
        if not same:
            posix.kill(pid, 9)  # its answer no longer matters
        same = posix.waitpid(pid, 0)[1] == 0 and same
    return same


def share_of(files: int) -> int:
    """How many files each process looks at."""
    cores = len(posix.sched_getaffinity(0)) if hasattr(posix, "sched_getaffinity") else 1
    return max(1, -(-files // max(1, min(cores, files // _SHARE))))


def _same(root: str, files: "list[str]", expected: "memoryview[int]", first: int, last: int) -> bool:
    """Whether files ``first`` to ``last`` are as they were. No line of Python runs for a file that is there; those that
    must not be there stand at the end."""
    last = min(last, len(files))
    there = last
    while there > first and expected[4 * there - 4] == ABSENT:
        there -= 1
    try:
        found = itertools.chain.from_iterable(map(_FOUR, map(posix.stat, _placed(root, files[first:there]))))
        if not all(map(_operator.eq, found, expected[4 * first : 4 * there])):
            return False
    except OSError:
        return False
    return all(signature(path)[0] == ABSENT for path in _placed(root, files[there:last]))


def _placed(root: str, files: "list[str]") -> "list[str]":
    """Their paths from the current directory."""
    return [name if name[0] == "/" else root + name for name in files] if root else files
