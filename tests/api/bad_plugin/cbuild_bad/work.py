"""One function for each fault. Artifacts hold one text, ``value.txt``, of digits."""

import datetime
import importlib
import os
import pickle
import random
import socket
import threading
import time
import uuid
from pathlib import Path

import numpy as np

from compressbuild.api import UserError

_seen = []


def validate(directory):
    text = (directory / "value.txt").read_text(errors="replace")
    if not text.startswith("value ") or not text.endswith("\n"):
        raise ValueError("value.txt is damaged")


def blind(directory):
    (directory / "value.txt").read_bytes()


def text(model):
    found = (model / "value.txt").read_text()
    if "unfit" in found:
        raise UserError("the text is unfit", hint="take another")
    return found


def write(ctx, model, more=""):
    (ctx.out / "value.txt").write_text(f"value {more}{text(model).removeprefix('value ')}")


def good(ctx, model, params):
    if params.factor > 0.8:
        raise UserError("this text cannot be scaled so far", hint="take a smaller 'factor'")
    write(ctx, model, params.factor)
    ctx.progress(1, 1)
    return {"length": 1}


def clock(ctx, model, params):
    write(ctx, model, time.time() // 86400)


def date(ctx, model, params):
    write(ctx, model, datetime.date.today())


def hashing(ctx, model, params):
    write(ctx, model, "".join({"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"}))


def identity(ctx, model, params):
    write(ctx, model, uuid.uuid4())


def randomness(ctx, model, params):
    write(ctx, model, np.random.default_rng().random())


def path(ctx, model, params):
    write(ctx, model, ctx.out)


def undeclared(ctx, model, params):
    write(ctx, model, Path(__file__).parents[1].joinpath("notes.txt").read_text())


def outside(ctx, model, params):
    write(ctx, model, len(Path("/etc/passwd").read_bytes()))


def own_data(ctx, model, params):
    write(ctx, model, Path(__file__).with_name("table.txt").read_text().strip())


def environment(ctx, model, params):
    write(ctx, model, os.environ.get("CBUILD_BAD_FACTOR", "1"))


def mutable_default(ctx, model, params, seen=[]):  # noqa: B006  the fault
    write(ctx, model, len(params.__struct_fields__))
    seen.append(model)


def remembers(ctx, model, params):
    _seen.append(model)
    write(ctx, model, len(_seen))


def pickled(ctx, model, params):
    write(ctx, model)
    (ctx.out / "state.bin").write_bytes(pickle.dumps({"factor": params.factor}))


def pickled_arrays(ctx, model, params):
    write(ctx, model)
    np.savez(ctx.out / "state.npz", state=np.array([{"a": 1}], dtype=object))


def link(ctx, model, params):
    (ctx.out / "value.txt").symlink_to(model / "value.txt")


def fifo(ctx, model, params):
    write(ctx, model)
    os.mkfifo(ctx.out / "pipe")


def bad_name(ctx, model, params):
    write(ctx, model)
    Path(os.fsdecode(os.fsencode(ctx.out) + b"/\xff.txt")).write_text("x")


def hard_link(ctx, model, params):
    os.link(model / "value.txt", ctx.out / "value.txt")


def writes_outside(ctx, model, params):
    write(ctx, model)
    (ctx.out.parent / "more.txt").write_text("more")


def writes_project(ctx, model, params):
    write(ctx, model)
    ctx.file("log.txt").write_text("done")


def spoils_input(ctx, model, params):
    write(ctx, model)
    os.system(f"echo more >> {model}/value.txt")


def connects(ctx, model, params):
    write(ctx, model)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        socket.create_connection(server.getsockname()).close()


def empty(ctx, model, params):
    text(model)


def no_required_file(ctx, model, params):
    text(model)
    (ctx.out / "other.txt").write_text("value\n")


def not_a_dict(ctx, model, params):
    write(ctx, model)
    return [1, 2]


def nan_fact(ctx, model, params):
    write(ctx, model)
    return {"loss": float("nan")}


def huge_fact(ctx, model, params):
    write(ctx, model)
    return {"weights": "x" * (2 << 20)}


def traceback(ctx, model, params):
    (ctx.out / "value.txt").write_text((model / "value.txt").read_text())
    if "unfit" in (model / "value.txt").read_text():
        raise KeyError("unfit")


def many_lines(ctx, model, params):
    (ctx.out / "value.txt").write_text((model / "value.txt").read_text())
    if "unfit" in (model / "value.txt").read_text():
        raise UserError("it is unfit\nfor several\nreasons")


def accepts_all(ctx, model, params):
    (ctx.out / "value.txt").write_text((model / "value.txt").read_text())


def crashes(ctx, model, params):
    os.abort()


def exits(ctx, model, params):
    write(ctx, model)
    os._exit(0)


def computed_import(ctx, model, params):
    write(ctx, model, importlib.import_module("cbuild_bad." + "".join(["hel", "per"])).SCALE)


def thread(ctx, model, params):
    write(ctx, model)
    threading.Thread(target=time.sleep, args=(30,), name="left-over").start()


def m_good(ctx, subject, params):
    return {"value": len(text(subject))}


def m_nan(ctx, subject, params):
    return {"value": float("nan")}


def m_missing(ctx, subject, params):
    return {"length": 3}


def m_rows(ctx, subject, params):
    return {"value": 3, "per_class": {"cat": 0.5}}


def m_rowless(ctx, subject, params):
    return {"value": 3}


def m_text(ctx, subject, params):
    return {"value": "3"}


def m_flag(ctx, subject, params):
    return {"value": True}


def m_infinite(ctx, subject, params):
    return {"value": np.float64("inf")}


def m_random(ctx, subject, params):
    random.seed()
    return {"value": random.random()}


def m_traceback(ctx, subject, params):
    return {"value": 10 / (0 if "unfit" in (subject / "value.txt").read_text() else 5)}
