"""Ways out of a sandbox. Run in workers by tests/execute/test_bubblewrap.py."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any


def read(path: str) -> object:
    return subprocess.run(["cat", path], capture_output=True, text=True, check=False).stdout


def connect(port: str) -> object:
    """From a child process, which no hook sees."""
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo hello >&3"
    return subprocess.run(["bash", "-c", script], capture_output=True, check=False).returncode == 0


def connect_by_python(port: str) -> object:
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        return True


def write(path: str) -> object:
    return subprocess.run(["sh", "-c", f"echo changed > '{path}'"], capture_output=True, check=False).returncode == 0


def leave(path: str) -> object:
    """Whether it was there already, and could be written for the next."""
    was = os.path.lexists(path)
    with contextlib.suppress(OSError):
        Path(path).write_text("left behind")
    return was


def names(path: str) -> object:
    return subprocess.run(["ls", "-A", path], capture_output=True, text=True, check=False).stdout.split()


def existence_by_c(path: str) -> object:
    return ctypes.CDLL(None).access(path.encode(), os.F_OK) == 0


def existence_by_a_program(path: str) -> object:
    return subprocess.run(["test", "-e", path], check=False).returncode == 0


def kill(pid: str) -> object:
    try:
        os.kill(int(pid), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def unveil(path: str) -> object:
    """Undo what hides it."""
    return subprocess.run(["umount", "-l", path], capture_output=True, check=False).returncode == 0


def ids(_: str) -> object:
    return [os.getuid(), os.getgid(), socket.gethostname()]


def run(ctx: Any, params: dict[str, str]) -> dict[str, Any]:
    return {"seen": globals()[params["way"]](params["what"])}
