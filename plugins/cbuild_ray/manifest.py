"""Runs nodes on a Ray cluster."""

from compressbuild.api import Executor, Needs, hookimpl

from .params import Ray


@hookimpl
def compressbuild_executors():
    yield Executor(
        name="ray",
        schemes=("ray",),
        open="cbuild_ray.machine:open_machine",
        queued=True,
        options=Ray,
        needs=Needs(modules=("ray",), install="pip install 'compressbuild[ray]'"),
        summary="workers on a Ray cluster: ray://head:10001?cpus=4",
    )
