"""ssh keeps the contract of executors, against a real sshd."""

from __future__ import annotations

import pytest
from sshd import Sshd

from compressbuild.api.conformance import ExecutorContract


class TestSsh(ExecutorContract):
    executor = "ssh"
    unreachable = "ssh://nobody@127.0.0.1:1"
    _server: Sshd

    @pytest.fixture(autouse=True)
    def _reach(self, server: Sshd) -> None:
        type(self)._server = server

    def address(self) -> str:
        return self._server.address
