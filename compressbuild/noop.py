"""The no-op: nothing changed, so nothing is loaded. One state file, then one stat for each file it was about.

This module runs before anything else and imports only what the interpreter has already: no click, no YAML, no plugin.
A state is written (by :mod:`compressbuild.cli.noop_state`) after a build in which every target was published; it names
every input (Compressfile, code, listed files, installed plugins) and every output (published files, cache records and
objects).
"""

import marshal
import posix
import sys

FORMAT = 4


def signature(path: str) -> "tuple[int, int, int, int] | None":
    """What a file must still look like; None if it is not there."""
    try:
        info = posix.stat(path)
    except OSError:
        return None
    return (info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns)


def locate(argv: "list[str]") -> "tuple[str, str]":
    """(directory of the Compressfile with its slash, or "", state file) for a command line."""
    root = ""
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
    name = 5381
    for char in "\0".join(argv):
        name = (name * 33 + ord(char)) & 0xFFFFFFFFFFFF
    return root, f"{root}.cbuild/noop/{name:012x}"


def identity() -> "tuple[object, ...]":
    """The interpreter with its search path, and the machine: a state made by others says nothing here."""
    return (FORMAT, sys.version, sys.prefix, tuple(sys.path), tuple(posix.uname()))


def check(argv: "list[str]") -> "str | None":
    """The text to print if this very command has nothing to do, else None."""
    root, path = locate(argv)
    try:
        with open(path, "rb") as file:
            made_by, said, environment, files, signatures, text = marshal.loads(file.read())
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if made_by != identity() or said != argv:
        return None
    for name, value in environment:
        if posix.environ.get(name) != value:
            return None
    for name, expected in zip(files, signatures, strict=True):
        if signature(name if name[0] == "/" else root + name) != expected:
            return None
    return str(text)
