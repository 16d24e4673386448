"""Runs nodes in an allocation of a Slurm cluster."""

from compressbuild.api import Executor, Needs, hookimpl

from .params import Slurm


@hookimpl
def compressbuild_executors():
    yield Executor(
        name="slurm",
        schemes=("slurm",),
        queued=True,
        open="cbuild_slurm.machine:open_machine",
        options=Slurm,
        needs=Needs(programs=(("srun",), ("squeue",)), install="apt install slurm-client"),
        summary="a node of a Slurm cluster: slurm://partition?cpus=4&mem=8G&gres=gpu:1&time=1:00:00",
    )
