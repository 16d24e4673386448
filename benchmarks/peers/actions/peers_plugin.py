"""The plugin with which compressbuild builds the graph."""

from peers_action import act

from compressbuild.api import Kind, ModelRef, Params, Technique, hookimpl


class Mix(Params):
    """``others``: models that are read after the one that the step starts from."""

    name: str
    salt: int
    coarse: bool = False
    others: tuple[ModelRef, ...] = ()


def mix(ctx, model, params):
    reads = [model, *(ctx.artifact(name) for name in params.others)]
    act(params.name, params.salt, params.coarse, [next(path.iterdir()) for path in reads], ctx.out / "value")


@hookimpl
def compressbuild_kinds():
    yield Kind(name="number", files=("*",), suffixes=(".txt",))


@hookimpl
def compressbuild_techniques():
    yield Technique(name="peers.mix", params=Mix, run="peers_plugin:mix", consumes=("number",), produces="number")
