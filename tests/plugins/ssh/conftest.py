from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sshd import SSHD, Sshd, sshd


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One for all tests: each has its own project, and the agent's files are the same for all."""
    if SSHD is None:
        pytest.skip("sshd is not installed: apt install openssh-server")
    with sshd(tmp_path_factory.mktemp("sshd")) as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CBUILD_SSH", found.command)
        patch.setenv("PYTHONPATH", os.path.dirname(sshd.__code__.co_filename))
        yield found
