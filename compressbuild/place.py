"""Where a command works: ``-C DIR``, and the Compressfile in a directory above. Imports what is loaded anyway."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "Compressfile"


def above() -> str:
    """What leads to the nearest directory above that has a Compressfile, such as ``../../``; "" if none has one.

    The search ends at the root of a git repository, and at that of the file system.
    """
    return next((prefix for prefix in _upwards() if _there(prefix + NAME)), "")


def edge() -> str:
    """The last directory in which :func:`above` looks."""
    parts = posix.getcwd().split("/")
    return "/".join(parts[: len(parts) - sum(1 for _ in _upwards())]) or "/"


def below(prefix: str) -> str:
    """The current directory, seen from the one that ``prefix`` leads to."""
    return "/".join(posix.getcwd().split("/")[-prefix.count("../") :]) if prefix else ""


def note(file: str) -> str:
    """What tells a user which file was found."""
    return f"using {file}; paths in messages start at its directory\n"


def enter(argv: "list[str]") -> "list[str]":
    """Change to the directory of each ``-C DIR``; the rest of the command line. One that cannot be entered stays, and
    is complained of where errors are."""
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word[:2] != "-C":
            rest.append(word)
            continue
        value = word[2:] or next(words, "")
        try:
            posix.chdir(value)
        except OSError:
            return [*rest, "-C", value, *words]
    return rest


def _upwards() -> "Iterator[str]":
    prefix = ""
    here = _identity(".")
    while not _there(prefix + ".git"):
        prefix += "../"
        upper = _identity(prefix)
        if upper == here:
            return
        yield prefix
        here = upper


def _there(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _identity(path: str) -> "tuple[int, int] | None":
    try:
        info = posix.stat(path)
    except OSError:
        return None
    return (info.st_dev, info.st_ino)
