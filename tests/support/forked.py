"""Commands that are forked from one process, which has imported the engine already: a third of the cost of ``cbuild``.

The process is started with a library preloaded; the child calls a function of it once all its variables are set.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from command import CBUILD, Ran, Work

__all__ = ["Forked"]

SAID = ("out", "err")


class Forked:
    """``library`` is preloaded; ``begin`` is its function that a command starts with."""

    def __init__(self, place: Path, library: Path, begin: str) -> None:
        self._place = place
        place.mkdir(parents=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(Path(__file__).parent)}
        self._server = subprocess.Popen(
            [sys.executable, __file__, begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, work: Work, words: tuple[str, ...], env: Mapping[str, str], seconds: float) -> Ran:
        """``cbuild words``, as ``work.start`` runs it. AssertionError if it takes longer."""
        asked = {"argv": [CBUILD, *words], "cwd": str(work.root), "env": work.environment(**env)}
        asked |= {name: str(self._place / name) for name in SAID}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        hung = threading.Event()

        def end() -> None:
            hung.set()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

        timer = threading.Timer(seconds, end)
        timer.start()
        code = int(self._server.stdout.readline())
        timer.cancel()
        assert not hung.is_set(), f"{' '.join(words)}: hung for {seconds} s"
        return Ran(code, *((self._place / name).read_text() for name in SAID))

    def close(self) -> None:
        self._server.communicate()


def serve(begin: str) -> int:
    """For each line of standard input: the pid of a command, and when it has ended, its status."""
    sys.path[:0] = os.environ.pop("PYTHONPATH").split(os.pathsep)
    import compressbuild.build.run
    import compressbuild.cli.build
    import compressbuild.cli.cache
    import compressbuild.cli.report
    import compressbuild.cli.verify
    import compressbuild.execute.local  # noqa: F401  imported once, for all that are forked
    from compressbuild.__main__ import main

    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            continue
        os.setsid()
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.path[:0] = asked["env"].get("PYTHONPATH", "").split(os.pathsep)
        sys.argv[:] = asked["argv"]
        new = (asked[name] for name in SAID)
        files = [
            os.open(os.devnull, os.O_RDONLY),
            *(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC) for name in new),
        ]
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        getattr(ctypes.CDLL(None), begin)()
        return main()
    return 0


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1]))
