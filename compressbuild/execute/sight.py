"""What of the file system a worker may read: what its key covers, the interpreter, libraries and the system."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator

from ..api.work import WorkRequest
from . import landlock
from .importing import libraries

__all__ = ["confine", "hidden"]

# Where a system keeps what it installs. Not among them: homes, /tmp, /mnt, /srv, /data and all else where users' data
# lie.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/snap"),
    *("/proc", "/sys", "/dev", "/run", "/var/lib", "/var/cache"),
)
_DEVICES = ("/dev", "/proc")
_PATHS = ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


def confine(request: WorkRequest) -> bool:
    """Give up all files that the node's key does not cover, as far as the kernel has Landlock: False if it has not, or
    if the request does not say what the key covers."""
    sight = request.sight
    if sight is None or landlock.version() == 0:
        return False
    writable = [request.out, request.scratch]
    if request.checkpoint is not None:
        os.makedirs(request.checkpoint, exist_ok=True)
        writable.append(request.checkpoint)
    installed = list(_installed(request))
    trees = [path for path, whole in installed if whole]
    landlock.enforce(
        trees=[*trees, *sight.trees, *(entry.path for entry in request.inputs.values())],
        files=sight.files,
        folders=[*sight.folders, *(path for path, whole in installed if not whole)],
        writable=[*writable, *_DEVICES],
    )
    return True


def hidden(path: str) -> bool:
    """Whether a file or directory is there and this process may not read it, though its user may."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False
    return False


def _installed(request: WorkRequest) -> Iterator[tuple[str, bool]]:
    """The system and the libraries, without the project and the packages of plugins that lie among them; and whether
    with all below."""
    assert request.sight is not None
    engine = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = [*_SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, engine, *libraries()]
    holes = {os.path.realpath(each) for each in (request.root, *request.code_roots)}
    project = tuple(os.path.join(each, "") for each in holes)
    named = [each for name in _PATHS for each in os.environ.get(name, "").split(os.pathsep)]
    found += [each for each in named if not os.path.realpath(each).startswith(project)]
    holes |= set(_plugin_packages(request.sight.files))
    for place in dict.fromkeys(os.path.realpath(each) for each in found if each):
        yield from _around(place, holes)


def _plugin_packages(files: Iterable[str]) -> Iterator[str]:
    """Top-level packages that lie among libraries, and count by their source all the same."""
    stdlib = os.path.join(os.path.realpath(sysconfig.get_path("stdlib")), "")
    places = [each for each in libraries() if each != stdlib]
    for path in files:
        for place in places:
            if path.startswith(place):
                yield os.path.realpath(place + path[len(place) :].partition("/")[0])


def _around(place: str, holes: set[str]) -> Iterator[tuple[str, bool]]:
    """``place`` with all below; or, as far as there are holes below, only its names, and what lies beside the holes."""
    if place in holes:
        return
    if not any(hole.startswith(os.path.join(place, "")) for hole in holes):
        yield place, True
        return
    yield place, False  # the import system looks through it
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        child = os.path.join(place, name)
        if os.path.realpath(child) == child:  # a link may lead into a hole
            yield from _around(child, holes)
