"""Another machine that is this one: the agent in a process of its own, with another home, reached by pipes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from compressbuild.api import Link


class Pipes:
    """A link to a program that was started here. ``before``: what a login script prints first."""

    def __init__(self, program: str, home: Path, python: str, before: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  read after the process ended
        words = ["sh", "-c", 'printf %s "$3"; exec "$1" -c "$2"', "sh", python, program, before]
        environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(home / ".cache")}
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            cwd="/",
            env=environment,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def fault(self) -> str:
        self.process.wait(10)
        self._errors.seek(0)
        return (self._errors.read().decode().strip().splitlines() or [""])[-1]

    def close(self) -> None:
        self.stdin.close()
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nearby:
    """A machine whose account has ``home``."""

    def __init__(self, home: Path, *, python: str = sys.executable, before: str = "") -> None:
        self.address = "nearby"
        self.home, self.python, self.before = home, python, before
        self.links: list[Pipes] = []

    def start(self, program: str) -> Link:
        self.links.append(Pipes(program, self.home, self.python, self.before))
        return self.links[-1]
