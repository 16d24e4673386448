"""What of the file system a worker may read: what its key covers, the interpreter, libraries and the system.

With :mod:`.bubblewrap` the rest is not there (:mod:`.veil`); with :mod:`.landlock` it cannot be opened. Both hold where
both are to be had.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator

from ..api.work import WorkRequest
from . import landlock
from .importing import libraries
from .protocol import Sandbox
from .veil import SCRATCH, Veil, draw

__all__ = ["Confined", "confine"]

# Where a system keeps what it installs. Not among them: homes, /tmp, /mnt, /srv, /data and all else where users' data
# lie.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu", "/snap"),
    *("/proc", "/sys", "/dev", "/run", "/var/lib", "/var/cache"),
)
_DEVICES = ("/dev", "/proc")
_PATHS = ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Confined:
    """A worker as it is confined. ``name``: by what, as provenance says it."""

    def __init__(self, name: str = "none", veil: Veil | None = None) -> None:
        self.name = name
        self.veil = veil or Veil()

    def hides(self, path: str) -> bool:
        """Whether a file or directory is there and this process may not read it, though its user may."""
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except PermissionError:
            return self.name != "none" and os.access(path, os.R_OK)
        except FileNotFoundError:
            return self.veil.is_there(path)
        except (OSError, ValueError):
            return False
        return False


def confine(request: WorkRequest, sandbox: Sandbox) -> Confined:
    """Give up all files that the node's key does not cover, as far as the sandbox and the kernel go. Nothing is given
    up if the request does not say what the key covers."""
    sight, name = request.sight, "bubblewrap" if sandbox.kind == "bubblewrap" else "none"
    if sight is None or sandbox.kind == "none":
        return Confined(name)
    writable = [request.out, request.scratch]
    if request.checkpoint is not None:
        os.makedirs(request.checkpoint, exist_ok=True)
        writable.append(request.checkpoint)
    inputs = [entry.path for entry in request.inputs.values()]
    found, veil = _found(request), Veil()
    installed = list(_installed(request, found))
    if sandbox.kind == "bubblewrap":
        veil = draw(
            (*sandbox.places, request.root, *request.code_roots),
            shown=(*found, *sight.files),
            trees=(*sight.trees, *sight.folders),
            inputs=inputs,
            own=writable,
        )
        os.chdir(request.scratch)  # by its name: it was entered before the veil
        name = "bubblewrap" if veil.is_drawn else "bubblewrap, shared"
    if landlock.version() == 0:
        return Confined(name, veil)
    trees = [path for path, whole in installed if whole]
    landlock.enforce(
        trees=[*trees, *sight.trees, *inputs],
        files=sight.files,
        folders=[*sight.folders, *(path for path, whole in installed if not whole)],
        writable=[*writable, *_DEVICES, *(SCRATCH if veil.is_drawn else ())],
    )
    return Confined("landlock" if name == "none" else f"{name}, landlock", veil)


def _found(request: WorkRequest) -> list[str]:
    """The system's and the interpreter's directories, the engine, and what the environment says of more."""
    engine = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    project = tuple(os.path.join(os.path.realpath(each), "") for each in (request.root, *request.code_roots))
    named = [each for name in _PATHS for each in os.environ.get(name, "").split(os.pathsep)]
    more = [each for each in named if not os.path.realpath(each).startswith(project)]
    found = (*_SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, engine, *libraries(), *more)
    return [each for each in found if each]


def _installed(request: WorkRequest, found: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """The system and the libraries, without the project and the packages of plugins that lie among them; and whether
    with all below."""
    assert request.sight is not None
    holes = {os.path.realpath(each) for each in (request.root, *request.code_roots)}
    holes |= set(_plugin_packages(request.sight.files))
    for place in dict.fromkeys(map(os.path.realpath, found)):
        yield from _around(place, holes)


def _plugin_packages(files: Iterable[str]) -> Iterator[str]:
    """Top-level packages that lie among libraries, and count by their source all the same."""
    stdlib = os.path.join(os.path.realpath(sysconfig.get_path("stdlib")), "")
    places = sorted((each for each in libraries() if each != stdlib), key=len, reverse=True)
    for path in files:
        # The closest: in a virtual environment one place of the standard library holds the directory of packages.
        place = next((each for each in places if path.startswith(each)), None)
        if place is not None:
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
