"""A plugin whose technique does harm, in as many ways as ``WAYS`` has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from compressbuild.api import Params, Technique, hookimpl


class Harm(Params):
    """Do harm."""

    how: str


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("not even this")

    __repr__ = __str__


class NotAnException(BaseException):
    pass


def fork_bomb(ctx, model):
    """Bounded: of 64 processes, each has a child while the depth lasts."""
    for _ in range(6):
        os.fork()
    time.sleep(600)


def daemon(ctx, model):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            time.sleep(600)
        os._exit(0)


def nohup(ctx, model):
    subprocess.Popen(["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1; done"], start_new_session=True)


def junk(ctx, model):
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\xff\x00" * 4096)


def streams(ctx, model):
    sys.stdout = sys.stderr = None
    os.close(0), os.close(1), os.close(2)


def log(ctx, model):
    line = b"x" * (1 << 20) + b"\n"
    for _ in range(64):
        os.write(1, line)


def terminal(ctx, model):
    raise ValueError("\x1b]0;title\x07\x1b[2J\r\x00 a message with \x1b[31mcolours")


def shout(ctx, model):
    raise ValueError("x" * (20 << 20))


def unprintable(ctx, model):
    raise Unprintable


def base(ctx, model):
    raise NotAnException("neither caught")


def recursion(ctx, model):
    return recursion(ctx, model)


def nested(ctx, model):
    found = {}
    for _ in range(100_000):
        found = {"a": found}
    return found


def cyclic(ctx, model):
    found = {}
    found["a"] = found
    return found


def heavy(ctx, model):
    return {"a": "x" * (8 << 20)}


def outside(ctx, model):
    (Path(ctx.file("f.txt")).parent / "planted.py").write_text("x")


def cache(ctx, model):
    """Writes to what it was given, which may be an object of the cache."""
    given = next(model.iterdir())
    given.chmod(0o644)
    given.write_text("spoiled")


def no_out(ctx, model):
    shutil.rmtree(ctx.out)


def no_scratch(ctx, model):
    shutil.rmtree(ctx.scratch, ignore_errors=True)  # the kernel may refuse


def deep(ctx, model):
    os.chdir(ctx.out)
    for _ in range(1100):
        os.mkdir("d")
        os.chdir("d")
    Path("value").write_text("x")


def names(ctx, model):
    for name in ("a\nb", "\x1b[31m", "-rf", "CON", " "):
        (ctx.out / name).write_text("x")


def shut(ctx, model):
    (ctx.out / "inner").mkdir()
    (ctx.out / "inner" / "x").write_text("x")
    (ctx.out / "inner").chmod(0)


WAYS = {
    "import error": lambda ctx, model: __import__("no_such_module"),
    "SystemExit": lambda ctx, model: sys.exit(0),
    "exit": lambda ctx, model: os._exit(0),
    "segfault": lambda ctx, model: ctypes.string_at(0),
    "hang": lambda ctx, model: time.sleep(600),
    "stops": lambda ctx, model: os.kill(os.getpid(), signal.SIGSTOP),
    "kills its parent": lambda ctx, model: os.kill(os.getppid(), signal.SIGKILL),
    "closes": lambda ctx, model: os.closerange(3, 1024),
    "fifo": lambda ctx, model: os.mkfifo(ctx.out / "odd"),
    "link": lambda ctx, model: (ctx.out / "odd").symlink_to("/etc/passwd"),
    "itself": lambda ctx, model: (ctx.out / "odd").symlink_to("."),
    "fork bomb": fork_bomb,
    "daemon": daemon,
    "nohup": nohup,
    "junk": junk,
    "streams": streams,
    "log": log,
    "terminal": terminal,
    "shout": shout,
    "unprintable": unprintable,
    "base": base,
    "recursion": recursion,
    "nested": nested,
    "cyclic": cyclic,
    "heavy": heavy,
    "outside": outside,
    "cache": cache,
    "no out": no_out,
    "no scratch": no_scratch,
    "deep": deep,
    "names": names,
    "shut": shut,
    "good": lambda ctx, model: None,
}


def harm(ctx, model, params):
    if params.how not in ("names", "no out"):
        (ctx.out / "value").write_text("x")
    return WAYS[params.how](ctx, model)


@hookimpl
def compressbuild_techniques():
    yield Technique(name="hostile.harm", params=Harm, run="hostile:harm", consumes=("text",), produces="text")
