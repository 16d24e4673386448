"""A real sshd on loopback, with keys of its own, whose account has another home, directory and cache."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Sshd:
    """``address``: for a Compressfile. ``home``: of the account there. ``command``: for $CBUILD_SSH."""

    address: str
    home: Path
    command: str
    process: subprocess.Popen[bytes]

    @property
    def base(self) -> Path:
        """Where the agent keeps its files."""
        return self.home / "agent"

    def connections(self) -> list[int]:
        """Processes of sshd that serve a connection."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]


@contextlib.contextmanager
def sshd(place: Path, *, python: str = sys.executable) -> Iterator[Sshd]:
    """Below ``place``. The account is that of the tests: only the environment of what runs there differs."""
    assert SSHD is not None
    place.mkdir(parents=True, exist_ok=True)
    home = place / "home of the device"
    home.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    shutil.copy(place / "user.pub", place / "authorized")
    (place / "authorized").chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "known").write_text(f"[127.0.0.1]:{port} {(place / 'host.pub').read_text()}")
    (place / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nPidFile {place}/pid\n"
        f"AuthorizedKeysFile {place}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        f'SetEnv "HOME={home}" "XDG_CACHE_HOME={home}/.cache" "TZ=Asia/Tokyo"\nLogLevel ERROR\n'
    )
    (place / "ssh_config").write_text(
        f"Host *\n  IdentityFile {place}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {place}/known\n"
        "  GlobalKnownHostsFile /dev/null\n"
    )
    with contextlib.suppress(FileExistsError, PermissionError):
        Path("/run/sshd").mkdir(mode=0o755)  # what sshd of Debian wants to see
    with open(place / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(place / "sshd_config")], stderr=log)
    try:
        _until_it_answers(port, process, place / "log")
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}?python={python}&directory=~/agent"
        yield Sshd(address, home, f"ssh -F {place}/ssh_config", process)
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"sshd does not start: {log.read_text()}")


def running(word: str) -> list[int]:
    """Processes whose command line or environment has a word: those of one test's machine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if word.encode() in said:
                    found.append(int(entry.name))
    return found
