"""What the tests run in workers. Imported there only, through ``code_roots``."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from compressbuild.api import Context, Params, UserError


class Scale(Params):
    factor: float = 0.5


def facts(ctx: Context, params: Any) -> dict[str, Any]:
    """What this process is like."""
    (ctx.out / "artifact.bin").write_bytes(b"bytes")
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "environ": dict(os.environ),
        "cwd": os.getcwd(),
        "random": random.random(),
        "hash": hash("a string"),
        "modules": sorted(name for name in sys.modules if "." not in name),
        "oom_score_adj": Path("/proc/self/oom_score_adj").read_text().strip(),
        "stdin": sys.stdin.read() if sys.stdin else "",
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2)),
    }


def typed(ctx: Context, subject: Path, params: Scale) -> dict[str, Any]:
    return {"factor": params.factor, "subject": subject.name, "type": type(params).__name__}


def unsorted(ctx: Context, params: Any) -> dict[str, Any]:
    return {"z": 1, "a": {"y": [1.5, float("nan")], "b": Path("x")}}


def nothing(ctx: Context, params: Any) -> None:
    return None


def a_list(ctx: Context, params: Any) -> Any:
    return [1]


def no_json(ctx: Context, params: Any) -> Any:
    return {"value": object()}


def noisy(ctx: Context, params: Any) -> dict[str, Any]:
    """Every way to write to the standard streams."""
    print("printed")
    print("to stderr", file=sys.stderr)
    os.write(1, b"\x00\x00\xff\xff raw bytes\n")
    sys.stdout.buffer.write(b"\xff\xfe binary\n")
    ctypes.CDLL(None).printf(b"from C\n")
    os.system("echo from a shell")
    ctx.log.info("logged")
    logging.getLogger("elsewhere").warning("a library's warning")
    warnings.warn("a Python warning", stacklevel=1)
    return {"value": 1}


def progress(ctx: Context, params: dict[str, Any]) -> None:
    for step in range(params["steps"] + 1):
        ctx.progress(step, params["steps"], loss=1.0 / (step + 1), phase="train")
        time.sleep(params.get("pause", 0.0))
    ctx.progress(1, 1, loss=float("nan"), odd=object)


def wrong(ctx: Context, params: Any) -> None:
    raise ValueError("the first line\nthe second line")


def user_error(ctx: Context, params: Any) -> None:
    raise UserError("the ratio leaves no channel", hint="try a smaller one")


def missing_module(ctx: Context, params: Any) -> None:
    import no_such_module_at_all  # noqa: F401


def exits(ctx: Context, params: Any) -> None:
    sys.exit(3)


def segfault(ctx: Context, params: Any) -> None:
    print("about to crash", flush=True)
    ctypes.string_at(0)


def abort(ctx: Context, params: Any) -> None:
    os.abort()


def hard_exit(ctx: Context, params: dict[str, Any]) -> None:
    os._exit(params["status"])


def garbage(ctx: Context, params: Any) -> None:
    """Write nonsense to every descriptor that is not a standard stream, the result pipe among them."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    os._exit(0)


def closes_everything(ctx: Context, params: Any) -> None:
    os.closerange(3, 64)


def killed(ctx: Context, params: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeper(ctx: Context, params: dict[str, Any]) -> None:
    """Sleep with a grandchild beside, in this session or in its own; ``pids`` says who they are."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=params.get("own_session", False))
    partial = Path(params["pids"] + ".partial")
    partial.write_text(f"{os.getpid()} {child.pid}")
    partial.rename(params["pids"])
    if params.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if params.get("return"):
        return
    time.sleep(600)


def hog(ctx: Context, params: dict[str, Any]) -> None:
    """Take memory, 8 MiB at a time; ``fork``: in a descendant."""
    if params.get("fork") and (pid := os.fork()):
        os.waitpid(pid, 0)
        return
    taken = []
    for _ in range(params["mib"] // 8):
        taken.append(os.urandom(1 << 20) * 8)
        time.sleep(0.005)
    if params.get("fork"):
        os._exit(0)


def read_file(ctx: Context, params: dict[str, Any]) -> None:
    for path in params["paths"]:
        Path(ctx.file(path)).read_bytes()


def probe_file(ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
    """Look without reading, and try to open what is not there."""
    names = sorted(os.listdir(ctx.file(".")))
    size = ctx.file(params["path"]).stat().st_size
    try:
        ctx.file("not-there.json").read_text()
    except FileNotFoundError:
        return {"names": names, "size": size}
    return {}


def relative_read(ctx: Context, params: dict[str, Any]) -> None:
    os.chdir(ctx.file("."))
    with open(params["path"]) as file:
        file.read()


def write_file(ctx: Context, params: dict[str, Any]) -> None:
    ctx.file(params["path"]).write_text("new")


def replace_file(ctx: Context, params: dict[str, Any]) -> None:
    temporary = ctx.scratch / "t"
    temporary.write_text("new")
    temporary.rename(ctx.file(params["path"]))


def remove_file(ctx: Context, params: dict[str, Any]) -> None:
    ctx.file(params["path"]).unlink()


def temporary_file(ctx: Context, params: dict[str, Any]) -> None:
    """Make and remove a file of the project, and make sure that directories are there that are."""
    os.makedirs(ctx.file("."), exist_ok=True)
    ctx.file("lock").write_text("x")
    ctx.file("lock").unlink()


def write_input(ctx: Context, subject: Path, params: Any) -> None:
    (subject / "new.bin").write_bytes(b"x")


def use_module(ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
    module = __import__(params["module"])
    return {"value": module.VALUE}


def only_import(ctx: Context, params: dict[str, Any]) -> None:
    __import__(params["module"])


def killed_for_memory(ctx: Context, params: dict[str, Any]) -> None:
    """As if by the kernel: its counter moves, and the process is gone."""
    Path(params["counter"]).write_text("oom_kill_disable 0\noom_kill 4\n")
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(directory):
    raise ValueError("the file 'made' is empty")


def checkpointed(ctx, params):
    if ctx.checkpoint is None:
        return {"seen": None}
    seen = sorted(path.name for path in ctx.checkpoint.iterdir())
    (ctx.checkpoint / "epoch").write_text("1")
    return {"seen": seen}


def measured(ctx: Context, params: Any) -> dict[str, Any]:
    """A metric's result, as asked for."""
    values = {"nan": float("nan"), "infinite": float("inf"), "text": "0.5", "none": None, "good": 0.5, "yes": True}
    found = {} if params["value"] == "left out" else {"value": values[params["value"]]}
    return found | ({"per_class": params["per_class"]} if "per_class" in params else {})
