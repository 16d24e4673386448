"""A shell on a terminal of its own, which is typed to."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

SECONDS = 60.0


class Shell:
    """``until``: waits for text in what was printed since it was last waited for."""

    def __init__(self, words: list[str], directory: Path, env: dict[str, str]) -> None:
        self._new = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(directory)
                os.execvpe(words[0], words, env)
            finally:
                os._exit(127)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exception: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def type(self, text: str) -> None:
        self._new = ""
        os.write(self._terminal, text.encode())

    def until(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self._new:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self._new!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                self._new += os.read(self._terminal, 65536).decode(errors="replace")
