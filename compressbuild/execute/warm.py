"""The engine's end of a warm parent: starts the process, queues nodes until it is ready, sends orders."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..noop import signature
from .importing import Sources
from .protocol import Answer, Channel, Kill, Ready, Sandbox, Setup, Spawn, decode_answer

if TYPE_CHECKING:
    import subprocess

__all__ = ["WarmParent", "worker_environment"]

_BOOT = (
    "import sys; sys.path.append(sys.argv[3]) if sys.argv[3] not in sys.path else None; "
    "from compressbuild.execute.zygote import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)
ENGINE = __name__.partition(".")[0]
_LIBRARIES = "LD_LIBRARY_PATH"
_INSTALLED = ("site-packages", "dist-packages")
_FAREWELL = 5.0  # seconds that a warm parent has to kill its workers and go

# What a worker sees of the engine's environment: where programs, libraries and devices are. PYTHONPATH only finds code.
_ALLOWED = frozenset(
    {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES"}
    | {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
_FIXED = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "USER": "cbuild",
    "LOGNAME": "cbuild",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow, which pandas and scikit-learn import, starts one
}


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every worker before its node's own variables: a short allow-list and fixed values."""
    return {name: value for name, value in environ.items() if name in _ALLOWED} | _FIXED


def _borrowed(packages: Iterable[str]) -> dict[str, str]:
    """Top-level package → the directory that holds it, for the engine and the plugins."""
    from importlib.util import find_spec

    found = {ENGINE: str(Path(__file__).resolve().parents[2])}
    for name in packages:
        spec = find_spec(name)
        if spec is not None and spec.has_location and spec.origin is not None:
            file = Path(spec.origin)
            found[name] = str(file.parents[1] if file.name == "__init__.py" else file.parent)
    return found


class WarmParent:
    """One process with one set of modules imported. ``state``: starting, ready, dead. ``packages``: those that count by
    their source wherever they lie. ``python``: the interpreter of an environment; empty for the engine's own."""

    def __init__(
        self,
        preload: tuple[str, ...],
        environment: Mapping[str, str],
        packages: tuple[str, ...] = (),
        sandbox: Sandbox = Sandbox(),  # noqa: B008
        python: str = "",
    ) -> None:
        import subprocess

        self.preload = preload
        self.kind: tuple[tuple[str, ...], Sandbox, int | None, str] = (preload, sandbox, None, python)
        self.state = "starting"
        self.pids: dict[int, int] = {}  # token → pid of what it forked
        self.threads = 1
        self._sources: Sources = {}
        self._queue: list[tuple[Spawn, int, int]] = []
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._errors: IO[bytes] = _anonymous_file()
        wrapped, starter = _wrapping(sandbox)
        self._is_apart = bool(wrapped)
        self._has_gone = False
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [*wrapped, *_starting(python, packages, theirs.fileno(), starter)],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                cwd="/",
                env=_environment(environment, python),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        finally:
            theirs.close()
        with contextlib.suppress(BrokenPipeError):  # it did not start, as its end of the socket will tell
            self.channel.send(Setup(preload, packages, sandbox))

    @property
    def is_outdated(self) -> bool:
        """Whether code that it holds was edited since it was read."""
        return any(signature(path) != then for path, then in self._sources.items())

    def fileno(self) -> int:
        return self.channel.fileno()

    def spawn(self, order: Spawn, log: int, results: int) -> None:
        """Takes over both descriptors. OSError if the warm parent is gone."""
        if self.state == "starting":
            self._queue.append((order, log, results))
            return
        try:
            self.channel.send(order, (log, results))
        finally:
            os.close(log)
            os.close(results)

    def ready(self, answer: Ready) -> None:
        """Its modules are imported."""
        self.state = "ready"
        self.threads = answer.threads
        self._sources = answer.sources

    def hand_over(self, other: WarmParent) -> list[int]:
        """Let another have what waits; the tokens of that."""
        moved, self._queue = self._queue, []
        other._queue += moved
        return [order.token for order, _, _ in moved]

    def send(self) -> None:
        """Send what waited. OSError if the warm parent is gone."""
        while self._queue:
            self.spawn(*self._queue.pop(0))

    def kill(self, token: int) -> bool:
        """Have a node killed; False if it was never sent, so that nothing will be heard of it."""
        for position, (order, log, results) in enumerate(self._queue):
            if order.token == token:
                del self._queue[position]
                os.close(log)
                os.close(results)
                return False
        with contextlib.suppress(OSError):  # it is gone, which its end of the socket will tell
            self.channel.send(Kill(token))
        return True

    def receive(self) -> Answer | None:
        """Its next answer; None when it is gone."""
        received = self.channel.receive()
        self._has_gone = received is None
        return None if received is None else decode_answer(received[0])

    def last_words(self) -> str:
        """The last line it wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def end(self) -> int:
        """Close, wait until it has killed its workers and gone, and return its exit status as Popen does."""
        import subprocess

        at_once = self.state == "starting" and not self._has_gone
        self.state = "dead"
        self.channel.sock.close()
        for _, log, results in self._queue:
            os.close(log)
            os.close(results)
        self._queue = []
        try:
            status = self._process.wait(0 if at_once else _FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._is_apart:  # its workers went with its namespace, in which their pids were
            return 128 - status if status > 128 else status
        if status < 0:  # killed: it could not take its workers' groups along
            for pid in self.pids.values():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
        return status

    def release(self) -> None:
        """After :meth:`end`: let go of what it wrote."""
        self._errors.close()


def _starting(python: str, packages: tuple[str, ...], descriptor: int, starter: int) -> list[str]:
    """The command line of a warm parent."""
    if python:  # -B: what it imports must not add files to the environment
        places = json.dumps(_borrowed(packages), sort_keys=True)
        boot = str(Path(__file__).with_name("borrow.py"))
        return [python, "-P", "-B", boot, str(descriptor), str(starter), places]
    package_parent = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-P", "-c", _BOOT, str(descriptor), str(starter), package_parent]


def _environment(found: Mapping[str, str], python: str) -> dict[str, str]:
    """Its variables. PYTHONPATH leads to what the engine has installed, so an environment goes without."""
    if not python:
        return dict(found)
    path = os.pathsep.join([os.path.dirname(python), *filter(None, [found.get("PATH")])])
    own = {name: value for name, value in found.items() if name not in ("PYTHONPATH", _LIBRARIES)} | {"PATH": path}
    libraries = os.pathsep.join(_libraries(os.path.dirname(os.path.dirname(python)), found.get(_LIBRARIES, "")))
    return own | ({_LIBRARIES: libraries} if libraries else {})


def _libraries(environment: str, searched: str) -> list[str]:
    """Where the loader looks before it looks where a library says. Packages of CUDA put theirs below ``nvidia`` and
    find each other by RUNPATH, which comes after this variable: so the environment's own come first, and those that
    the engine's Python has installed are left out."""
    from glob import escape, glob

    own = sorted(glob(f"{escape(environment)}/lib/python3.*/site-packages/nvidia/*/lib"))
    engines = [os.path.realpath(each) + os.sep for each in sys.path if os.path.basename(each) in _INSTALLED]
    others = [each for each in searched.split(os.pathsep) if each]
    return [*own, *(each for each in others if not os.path.realpath(each).startswith(tuple(engines)))]


def _wrapping(sandbox: Sandbox) -> tuple[list[str], int]:
    """What the command line begins with, and the pid that the new process sees as its parent's."""
    if sandbox.kind != "bubblewrap":
        return [], os.getpid()
    from .bubblewrap import command

    return command(sandbox.readable, sandbox.writable), 1


def _anonymous_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("cbuild-zygote"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()
