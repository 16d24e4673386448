"""A worker of a Ray cluster as a machine. Ray itself runs in a process beside this one, :mod:`.relay`.

In its own process, because a client of Ray is global, starts threads, and may need another Python: Ray refuses a client
of other versions than the cluster's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from compressbuild.api import Link, Machine, UserError

from .params import Ray

__all__ = ["RayMachine", "Relay", "open_machine"]

_COMMAND = "CBUILD_RAY"
"""Of the environment: the command that runs a Python with ray, by default this one."""
_ADDRESS = re.compile(r"ray://(?P<host>\[[\da-fA-F:.%\w]+\]|[\w.-]+)(?::(?P<port>\d+))?/?")
_PORT = 10001  # of Ray Client, as `ray start --head` opens it
_WAIT = 60  # seconds for room in the cluster
_START = 120  # seconds to import Ray, connect and start a worker
_FAREWELL = 10.0  # seconds for the agent to kill what it runs, and for the worker to go
_SIZE = re.compile(r"([\d.]+)([kKMGT]?)(i?)B?")


def open_machine(address: str, options: Ray) -> Machine:
    """``address``: ``ray://head[:port]``. UserError for another text."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(f"'{address}' is no address of a Ray cluster", hint="write ray://head:10001?cpus=4")
    return RayMachine(address, found["host"].strip("[]"), int(found["port"] or _PORT), options)


def resources(options: Ray) -> dict[str, float]:
    """What a worker takes, by Ray's names."""
    found: dict[str, float] = {"CPU": options.cpus}
    if size := _bytes(options.memory):
        found["memory"] = size
    if options.gpus:
        found["GPU"] = options.gpus
    # Ray gives each node a little of these, so that a thousand workers may ask for a node by them.
    if options.accelerator:
        found[f"accelerator_type:{options.accelerator}"] = 0.001
    if options.node:
        found[f"node:{options.node}"] = 0.001
    for pair in filter(None, options.custom.split(",")):
        name, _, amount = pair.rpartition(":")
        found[name] = float(amount)
    return found


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    assert found is not None  # its form was checked
    base = 1024 if found[3] or len(found[0]) == len(found[1] + found[2]) else 1000  # 8G and 8GiB, but 8GB
    return int(float(found[1]) * base ** ("kMGT".index(found[2].replace("K", "k")) + 1 if found[2] else 0))


class RayMachine:
    def __init__(self, address: str, host: str, port: int, options: Ray) -> None:
        self.address = address
        self._asked = {
            "host": host,
            "port": port,
            "resources": resources(options),
            "cpus": options.cpus,
            "python": options.python,
            "wait": _WAIT if options.wait is None else options.wait,
            "scales": options.wait is not None,
            "spread": options.workers > 1,
        }
        self._limit = float(_START + (options.wait or _WAIT))

    def start(self, program: str) -> Link:
        """Returns when the program runs. UserError if Ray does not give a worker, with why."""
        link = Relay()
        watchdog = threading.Timer(self._limit, link.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            link.ask(self._asked | {"program": program})
        except BaseException:
            link.close()
            raise
        finally:
            watchdog.cancel()
        return link


class Relay:
    """The process that is the stream. It has a session of its own, so Ctrl-C does not cut it before the engine does;
    when this process is gone, its input ends, and it gives the worker back."""

    def __init__(self) -> None:
        own = shlex.split(os.environ.get(_COMMAND) or "") or [sys.executable]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        try:
            self._process = subprocess.Popen(
                [*own, "-P", str(Path(__file__).with_name("relay.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
            )
        except OSError as error:
            self._errors.close()
            raise UserError(f"cannot run {own[0]}: {error.strerror}", hint=f"${_COMMAND} names it") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def ask(self, what: dict[str, object]) -> None:
        """Have a worker, with its program at work."""
        answer = b""
        with contextlib.suppress(OSError):  # it ended, and has said why
            view = memoryview(json.dumps(what).encode() + b"\n")
            while view:
                view = view[self.stdin.write(view) or 0 :]
            while not answer.endswith(b"\n") and (char := self.stdout.read(1)):
                answer += char
        if not answer.endswith(b"\n"):
            raise UserError(self.fault())
        said = json.loads(answer)
        if said["trouble"]:
            raise UserError(said["trouble"], hint=said["hint"] or None)

    def fault(self) -> str:
        """The last line of its error output."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_FAREWELL)
        with contextlib.suppress(ValueError):  # it was closed
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        status = self._process.poll()
        return f"the connection ended (exit status {status})" if status else "the connection ended"

    def kill(self) -> None:
        """It does not answer."""
        self._process.kill()

    def close(self) -> None:
        """The agent sees the end of its input, kills what it runs and goes; then the worker goes, and this process."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_FAREWELL)
                break
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()
