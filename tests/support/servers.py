"""Real servers on loopback, each a process of its own, for tests of what talks to one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["free_port", "served"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, place: Path, env: Mapping[str, str] | None = None, seconds: float = 60
) -> Iterator[None]:
    """Run ``command`` in ``place`` until the block ends. It has started once something listens on ``port``."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=place, env={**os.environ, **(env or {})}, start_new_session=True, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + seconds
            while not _listens(port):
                assert process.poll() is None, (place / "server.log").read_text()[-2000:]
                assert time.monotonic() < deadline, f"{command[0]} did not start"
                time.sleep(0.05)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
