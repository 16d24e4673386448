"""A plugin of trivial techniques, for tests of the engine: artifacts are directories with one text file, ``value``."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from compressbuild.api import DatasetRef, Kind, Metric, ModelRef, Params, Technique, hookimpl


class Mix(Params):
    """Combine the input with others into one of a few values, so that different inputs often give equal bytes."""

    salt: int = 0
    others: tuple[ModelRef, ...] = ()
    modulus: int = 7


class Copy(Params):
    """Copy the input, after doing what is asked."""

    fail: str = ""
    seconds: float = 0.0
    data: DatasetRef | None = None
    note: str = ""


def read(path: Path) -> str:
    return next(p for p in sorted(path.iterdir()) if p.is_file()).read_text()


def mix(ctx, model, params):
    total = params.salt + sum(map(ord, read(model)))
    for name in params.others:
        total = total * 31 + sum(map(ord, read(ctx.artifact(name))))
    (ctx.out / "value").write_text(str(total % params.modulus))


def copy(ctx, model, params):
    time.sleep(params.seconds)
    if params.fail:
        print(f"about to {params.fail}")
    if params.fail == "segfault":
        ctypes.string_at(0)
    if params.fail == "hog":
        hoard = []
        while True:
            hoard.append(b"x" * (8 << 20))
            time.sleep(0.005)
    if params.fail == "raise":
        raise RuntimeError("asked to fail")
    if params.fail == "crash":
        os.abort()
    if params.fail == "exit":
        os._exit(7)
    if params.fail == "empty":
        return {}
    if params.fail == "random":
        (ctx.out / "value").write_text(os.urandom(4).hex())
        return {}
    if params.fail == "tamper":
        next(model.iterdir()).chmod(0o644)
        next(model.iterdir()).write_text("changed")
    text = read(model)
    if params.data is not None:
        text += "".join(str(part) for part in ctx.dataset(params.data))
    (ctx.out / "value").write_text(text)
    return {"length": len(text)}


def length(ctx, subject, params):
    return {"value": len(read(subject))}


def wait(ctx, subject, params):
    return {"value": 1.0, "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6} if ctx.has("baseline") else {"value": 2.0}


def load(ctx, path, settings):
    return read(path)


@hookimpl
def compressbuild_kinds():
    yield Kind(name="text", files=("*",), suffixes=(".txt",), load="toy:load")


@hookimpl
def compressbuild_techniques():
    yield Technique(name="toy.mix", params=Mix, run="toy:mix", consumes=("text",), produces="text")
    yield Technique(name="toy.copy", params=Copy, run="toy:copy", consumes=("text",), produces="text")


@hookimpl
def compressbuild_metrics():
    yield Metric(name="length", run="toy:length", unit="B", direction="lower", of="artifact")
    yield Metric(name="wait", run="toy:wait", unit="ms", direction="lower", of="runner", exclusive=True)
