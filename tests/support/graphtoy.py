"""A technique whose result depends on all that a key covers: inputs, parameters, project code, and a tool's version."""

from __future__ import annotations

from toy import read

from compressbuild.api import DatasetRef, ModelRef, Params, Stack, Technique, hookimpl

TOOL = "graphtool"
"""The name of a distribution; ``version`` stands for what the installed one does."""
version = "1"


class Mix(Params):
    """Combine the input with others and with data."""

    salt: int = 0
    others: tuple[ModelRef, ...] = ()
    data: DatasetRef | None = None
    modulus: int = 7
    fail: bool = False


def mix(ctx, model, params):
    if params.fail:
        raise RuntimeError("asked to fail")
    extra = sum(ctx.dataset(params.data)) if params.data else 0
    others = [read(ctx.artifact(name)) for name in params.others]
    (ctx.out / "value").write_text(mixed(params.salt, params.modulus, extra, [read(model), *others], version=None))


def tooled(ctx, model, params):
    if params.fail:
        raise RuntimeError("asked to fail")
    extra = sum(ctx.dataset(params.data)) if params.data else 0
    others = [read(ctx.artifact(name)) for name in params.others]
    (ctx.out / "value").write_text(mixed(params.salt, params.modulus, extra, [read(model), *others], version=version))


def mixed(salt, modulus, extra, texts, *, version):
    """The value of a node, also for the oracle."""
    total = salt + extra * 17 + (int(version) * 101 if version else 0)
    for text in texts:
        total = total * 31 + sum(map(ord, text))
    return str(total % modulus)


@hookimpl
def compressbuild_techniques():
    yield Technique(name="graph.mix", params=Mix, run="graphtoy:mix", consumes=("text",), produces="text")
    yield Technique(
        name="graph.tool", params=Mix, run="graphtoy:tooled", consumes=("text",), produces="text",
        stack=Stack(tools=(TOOL,)),
    )  # fmt: skip
