"""A third party's plugin: a kind of model that no other plugin knows, with a census of its own."""

from __future__ import annotations

from functools import partial

import numpy as np

from compressbuild.api import Census, Kind, Macs, ModelInput, Stack, Technique, Weight, hookimpl


def read(path):
    return np.loadtxt(next(path.glob("*")), dtype=np.float32, ndmin=2)


class Product:
    """y = x · weight."""

    def __init__(self, weight):
        self.weight = weight
        self.inputs = (ModelInput("x", ("n", len(weight)), "float32"),)

    def __call__(self, feeds):
        return {"y": feeds["x"] @ self.weight}

    def describe(self):
        return {"runtime": "tally", "device": "cpu", "threads": 1}


def load(ctx, path, settings):
    return Product(read(path))


def census(ctx, path):
    return Census(
        weights=partial(weights, path), macs=partial(macs, path), traffic=lambda axes, batch: read(path).nbytes
    )


def weights(path):
    yield Weight(name="w", array=read(path), dtype="float32", layer="product", operator="Product")


def macs(path, axes):
    return Macs.of_run([("Product", "float", read(path).size)])


def halve(ctx, model, params):
    np.savetxt(ctx.out / "model.tally", read(model) / 2)


@hookimpl
def compressbuild_kinds():
    stack = Stack(modules=("numpy",), tools=("numpy",))
    yield Kind(
        name="tally", files=("*.tally",), suffixes=(".tally",), load="tally:load", census="tally:census", stack=stack
    )
    yield Kind(name="mute", files=("*.tally",), load="tally:load")


@hookimpl
def compressbuild_techniques():
    yield Technique(name="tally.halve", run="tally:halve", consumes=("tally",))
    yield Technique(name="tally.mute", run="tally:halve", consumes=("tally",), produces="mute")
