"""Children that multiprocessing starts by ``spawn`` and ``forkserver`` watch themselves and note for their parent.

Such a child is a Python of its own, which inherits no audit hook and no way to import. The command that starts it is
``python -c "from multiprocessing.spawn import …"``; what a child needs goes in front of that. It finds the engine
without a search path, as Landlock lets nobody list the directory that a checkout lies in.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["STARTERS", "lead"]

STARTERS = ("multiprocessing.popen_spawn_posix", "multiprocessing.forkserver")
"""Modules that start such children. When one is about to be imported, it is time to call :func:`lead`."""
_CODE = tuple(f"from {module} import " for module in ("multiprocessing.spawn", "multiprocessing.forkserver"))
_ADDRESS = 107  # bytes of a socket's path, unix(7)
_SOCKET = len("/pymp-01234567/listener-01234567")
_ENGINE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGE = __name__.partition(".")[0]
_BOOT = (
    "import sys; from importlib import util; "
    f"spec = util.spec_from_file_location({_PACKAGE!r}, {os.path.join(_ENGINE, '__init__.py')!r}); "
    f"sys.modules[{_PACKAGE!r}] = engine = util.module_from_spec(spec); spec.loader.exec_module(engine); "
)


def lead(descriptor: int, statement: Callable[[], str]) -> None:
    """Have the children of this process inherit ``descriptor`` and begin with a statement, which may import the engine.
    Does nothing as long as nobody uses multiprocessing."""
    if "multiprocessing" not in sys.modules:
        return
    _shorten()
    util: Any = importlib.import_module("multiprocessing.util")
    plain: Callable[[str, Sequence[Any], Sequence[int]], int] = util.spawnv_passfds
    if getattr(plain, "__module__", None) == __name__:
        return

    def started(path: str, args: Sequence[Any], passfds: Sequence[int]) -> int:
        words = [os.fsdecode(each) for each in args]
        at = words.index("-c") + 1 if "-c" in words else 0
        if at and words[at].startswith(_CODE):
            words[at] = f"{_BOOT}{statement()}; {words[at]}"
            passfds = [*passfds, descriptor]
        return plain(path, words, passfds)

    util.spawnv_passfds = started


def _shorten() -> None:
    """Give multiprocessing a short name for its temporary directory, where its sockets lie: a path of more than 107
    bytes is no address of a socket, and a step's directory may be longer. Linux alone has these names."""
    process: Any = importlib.import_module("multiprocessing.process").current_process()
    import tempfile

    room = _ADDRESS - len(os.fsencode(tempfile.gettempdir()))
    if "tempdir" in process._config or room >= _SOCKET or not os.path.isdir("/proc/self/fd"):
        return
    directory = os.open(tempfile.mkdtemp(prefix="pymp-"), os.O_RDONLY | os.O_DIRECTORY)  # open as long as the process
    process._config["tempdir"] = f"/proc/{os.getpid()}/fd/{directory}"
