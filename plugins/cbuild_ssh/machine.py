"""The system's ssh, which knows keys, agents, jump hosts and ``~/.ssh/config``; nothing of that is done again here."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import subprocess
import tempfile

from compressbuild.api import Link, Machine, UserError

from .params import Ssh

__all__ = ["Connection", "SshMachine", "open_machine"]

_COMMAND = "CBUILD_SSH"
"""Of the environment: the command to use for ``ssh``, as git's GIT_SSH_COMMAND."""
_OPTIONS = (
    *("-T", "-o", "BatchMode=yes"),  # no terminal, and no question that nobody would answer
    *("-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"),
    *("-o", "ClearAllForwardings=yes", "-o", "ForwardAgent=no", "-o", "ForwardX11=no"),
)
_ADDRESS = re.compile(
    r"(?:ssh://)?(?:(?P<user>[\w.][\w.-]*)@)?(?P<host>\[[\da-fA-F:.%\w]+\]|[\w.][\w.-]*)(?::(?P<port>\d+))?/?"
)
_FAREWELL = 5.0  # seconds for the other side to kill what it runs


def open_machine(address: str, options: Ssh) -> Machine:
    """``address``: ``[ssh://][user@]host[:port]``; the port only with ``ssh://``. UserError for another text."""
    found = _ADDRESS.fullmatch(address)
    if found is None or (found["port"] and not address.startswith("ssh://")):
        raise UserError(f"'{address}' is no address", hint="write user@host, or ssh://user@host:2222")
    return SshMachine(address, found["user"], found["host"].strip("[]"), found["port"], options.python)


class SshMachine:
    """``python``: the command that runs Python there."""

    def __init__(self, address: str, user: str | None, host: str, port: str | None, python: str) -> None:
        self.address = address
        self._where = [*(["-p", port] if port else []), *(["-l", user] if user else []), "--", host]
        self._python = python

    def start(self, program: str) -> Link:
        """The program crosses as Base64, which every login shell takes as it is."""
        text = base64.b64encode(program.encode()).decode()
        command = f"exec {shlex.quote(self._python)} -c 'import base64; exec(base64.b64decode(\"{text}\"))'"
        own = shlex.split(os.environ.get(_COMMAND) or "ssh")
        return Connection([*own, *_OPTIONS, *self._where, command])


class Connection:
    """A process that is the stream. It has a session of its own, so Ctrl-C does not cut it before the engine does."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise UserError(f"cannot run {command[0]}: {error.strerror}", hint="install an ssh client") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def fault(self) -> str:
        """The last line of its error output."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL)
        with contextlib.suppress(ValueError):  # it was closed
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        status = self._process.poll()
        return f"the connection ended (exit status {status})" if status else "the connection ended"

    def close(self) -> None:
        """The other side sees the end of its input, kills what it runs and goes; so does this process."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_FAREWELL)
                break
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()
