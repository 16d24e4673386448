"""Runs nodes on machines that ssh reaches."""

from compressbuild.api import Executor, Needs, hookimpl

from .params import Ssh


@hookimpl
def compressbuild_executors():
    yield Executor(
        name="ssh",
        schemes=("ssh",),
        plain=True,
        open="cbuild_ssh.machine:open_machine",
        options=Ssh,
        needs=Needs(programs=(("ssh",),), install="apt install openssh-client"),
        summary="a machine that ssh reaches: user@edge, or ssh://user@edge:2222",
    )
