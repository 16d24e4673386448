"""A worker of a Ray cluster as a machine. Ray itself runs in a process beside this one, :mod:`.relay`.

In its own process, because a client of Ray is global, starts threads, and may need another Python: Ray refuses a client
of other versions than the cluster's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import sys
import time
from pathlib import Path

from compressbuild.api import Link, Machine, ProcessLink, UserError

from .params import Ray

__all__ = ["RayMachine", "Relay", "open_machine"]

_COMMAND = "CBUILD_RAY"
"""Of the environment: the command that runs a Python with ray, by default this one."""
_ADDRESS = re.compile(r"ray://(?P<host>\[[\da-fA-F:.%\w]+\]|[\w.-]+)(?::(?P<port>\d+))?/?")
_PORT = 10001  # of Ray Client, as `ray start --head` opens it
_WAIT = 120  # seconds for room in the cluster, and for Ray to start a worker there
_START = 120  # seconds to import Ray and connect
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
        self._wait = _WAIT if options.wait is None else options.wait
        wanted = resources(options)
        self._asked = {
            "host": host,
            "port": port,
            "resources": wanted,
            "python": options.python,
            "memory": int(wanted.get("memory", 0)),
            "cpus": options.cpus,
            "wait": self._wait,
            "scales": options.wait is not None,
            "spread": options.workers > 1,
        }

    def start(self, program: str) -> Link:
        return Relay(self._asked | {"program": program}, _START + self._wait)


class Relay(ProcessLink):
    """When this process is gone, its input ends, and it gives the worker back. ``limit``: seconds to have a worker."""

    def __init__(self, asked: dict[str, object], limit: float) -> None:
        own = shlex.split(os.environ.get(_COMMAND) or "") or [sys.executable]
        super().__init__(
            [*own, "-P", "-W", "ignore", str(Path(__file__).with_name("relay.py"))],
            farewell=_FAREWELL,
            hint=f"${_COMMAND} names it",
            environment={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
        self._said, self._phase = b"", ""
        self._runs = False
        self._deadline = time.monotonic() + limit
        with contextlib.suppress(OSError):  # it ended, and will have said why
            view = memoryview(json.dumps(asked).encode() + b"\n")  # less than a pipe holds
            while view:
                view = view[self.stdin.write(view) or 0 :]

    def waiting(self) -> str | None:
        """What it waits for; None once the program runs. UserError if there will be no worker, with why."""
        while not self._runs and select.select([self.stdout], [], [], 0)[0]:
            char = self.stdout.read(1)  # one by one: after the last line the stream is the program's
            if not char:
                raise UserError(self.fault())
            self._said += char
            if char == b"\n":
                said, self._said = json.loads(self._said), b""
                if said["trouble"]:
                    raise UserError(said["trouble"], hint=said["hint"] or None)
                self._phase, self._runs = said["phase"], not said["phase"]
        if not self._runs and time.monotonic() > self._deadline:
            self.process.kill()
            raise UserError(
                f"Ray does not answer ({self._phase or 'connecting'})", hint="'ray status' on the head says more"
            )
        return None if self._runs else self._phase
