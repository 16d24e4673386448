"""The system's ssh, which knows keys, agents, jump hosts and ``~/.ssh/config``; nothing of that is done again here."""

from __future__ import annotations

import base64
import os
import re
import shlex

from compressbuild.api import Link, Machine, ProcessLink, UserError

from .params import Ssh

__all__ = ["SshMachine", "open_machine"]

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
        return ProcessLink([*own, *_OPTIONS, *self._where, command], hint="install an ssh client")
