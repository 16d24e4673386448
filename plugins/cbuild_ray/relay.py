"""A client of Ray: has a worker of the cluster run a program, and carries the bytes between it and this process.

A program of its own, with the standard library and ray alone. Its first line of input says what is wanted, as JSON. It
answers with lines, ``{"phase": "room for 4 CPUs", "trouble": "", "hint": ""}``. Once the phase is empty, its input
and output are the program's. It ends with the program, and the worker goes with either.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

_BLOCK = 1 << 20  # bytes that cross at once
_FAREWELL = 5.0  # seconds for the program to end after its input
_ATTEMPTS = 3  # at a connection
_LOOK = 0.1  # seconds between two looks at whether there is a worker


class Bridge:
    """The actor: one program at work in the cluster. It travels to the worker as this class, with no module."""

    def begin(self, program: str, python: str, cpus: int, memory: int) -> str:
        """The node's address. The program is given its share, for Ray counts CPUs and memory, and enforces neither."""
        import ray

        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the worker
        node = str(ray.util.get_node_ip_address())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= {"CBUILD_NODE": node, "CBUILD_CPUS": str(cpus)}
        if memory:
            environment["CBUILD_MEMORY"] = str(memory)
        self._process = subprocess.Popen(
            [python or sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            cwd=os.path.expanduser("~"),
            env=environment,
            start_new_session=True,
        )
        for pipe in (self._process.stdin, self._process.stdout):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _BLOCK)  # type: ignore[union-attr]
        return node

    def write(self, data: bytes) -> bool:
        """Whether the program still takes it."""
        assert self._process.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except OSError:  # it ended
            return False
        return True

    def end(self) -> None:
        """Its input ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def read(self) -> bytes:
        """What it has said since, at least a byte; empty at its end."""
        assert self._process.stdout is not None
        place, parts, size = self._process.stdout.fileno(), [], 0
        while size < 4 * _BLOCK and (not parts or select.select([place], [], [], 0)[0]):
            parts.append(os.read(place, _BLOCK))
            size += len(parts[-1])
            if not parts[-1]:
                break
        return b"".join(parts)

    def fault(self) -> str:
        """The last line of its error output. It is killed if it still runs."""
        try:
            self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


class Refused(Exception):
    """There will be no worker. ``hint``: what to do."""

    def __init__(self, trouble: str, hint: str = "") -> None:
        super().__init__(trouble)
        self.hint = hint


class _Listener(logging.Handler):
    """Ray tries a token that was refused for half a minute, and then says that it cannot connect. Its log says why, at
    once."""

    def emit(self, record: logging.LogRecord) -> None:
        if "authentication token" in (text := record.getMessage()):
            raise Refused(*_explained(RuntimeError(text.rpartition(": ")[2])))


class Client:
    """``asked``: the first line. ``say``: what it does. ``over``: set when nobody wants the worker any more."""

    def __init__(self, asked: dict[str, Any], say: Callable[[str], None], over: threading.Event) -> None:
        self._asked, self._say, self._over = asked, say, over
        self._actor: Any = None
        self.node = ""

    def connect(self) -> None:
        """Raises Refused."""
        host, port = self._asked["host"], self._asked["port"]
        try:
            socket.create_connection((host, port), timeout=15).close()
        except OSError as error:
            hint = "Ray Client listens on port 10001 of the head: 'ray start --head --ray-client-server-port=10001'"
            raise Refused(f"{host}:{port}: {error.strerror or error}", hint) from error
        try:
            import ray
        except ImportError as error:
            raise Refused(f"{sys.executable} has no ray: {error}", "pip install 'compressbuild[ray]'") from error
        shown = f"[{host}]" if ":" in host else host
        log = logging.getLogger("ray.util.client.worker")
        log.setLevel(logging.DEBUG)
        log.propagate = False
        log.addHandler(_Listener())
        for attempt in range(_ATTEMPTS):
            try:
                ray.init(f"ray://{shown}:{port}", log_to_driver=False, logging_level="ERROR")
                return
            except Refused:
                raise
            except Exception as error:  # whatever the library raises, the user must hear of it
                # Ray's proxy fails so where it looks at the process of an earlier client while that ends.
                if "Initialization failure" not in str(error) or attempt == _ATTEMPTS - 1:
                    raise Refused(*_explained(error)) from error
                time.sleep(attempt + 1)

    def place(self) -> None:
        """A worker with the program at work. Raises Refused; returns without one if it is ``over``."""
        import ray

        if not self._asked["scales"]:
            _check_size(self._asked["resources"], ray.nodes())
        wanted = dict(self._asked["resources"])
        options: dict[str, Any] = {"num_cpus": wanted.pop("CPU"), "num_gpus": wanted.pop("GPU", 0)}
        if "memory" in wanted:
            options["memory"] = int(wanted.pop("memory"))
        if self._asked["spread"]:  # several workers: on different nodes, as far as there are some
            options["scheduling_strategy"] = "SPREAD"
        made = ray.remote(Bridge).options(
            **options, resources=wanted, max_restarts=0, max_task_retries=0, max_concurrency=4
        )
        self._actor = made.remote()
        begun = self._actor.begin.remote(*(self._asked[name] for name in ("program", "python", "cpus", "memory")))
        deadline = time.monotonic() + self._asked["wait"]
        self._say(f"room for {_shown(self._asked['resources'])}")
        while not ray.wait([begun], timeout=_LOOK)[0]:
            if self._over.is_set():
                return
            if time.monotonic() > deadline:
                raise Refused(
                    f"the cluster had no room for {_shown(self._asked['resources'])} in {self._asked['wait']} s",
                    "free some of it, ask for less, or wait longer: wait=600 in the address",
                )
        try:
            self.node = ray.get(begun)
        except Exception as error:  # raised in the worker, or the worker's end
            cause = getattr(error, "cause", None)  # else the text is a traceback
            raise Refused(*_explained(cause if isinstance(cause, Exception) else error)) from error

    def take(self, reading: int) -> None:
        """Carry what is read to the program, until either ends."""
        import ray

        while data := os.read(reading, _BLOCK):
            if not ray.get(self._actor.write.remote(data)):
                return
        self._over.set()
        ray.get(self._actor.end.remote())

    def give(self, writing: int) -> str:
        """Carry what the program says, until its end; then the last line of its errors."""
        import ray

        while data := ray.get(self._actor.read.remote()):
            view = memoryview(data)
            while view:
                view = view[os.write(writing, view) :]
        return str(ray.get(self._actor.fault.remote()))

    def close(self) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
        ray.shutdown()


def _check_size(wanted: dict[str, float], nodes: list[dict[str, Any]]) -> None:
    """Raises Refused if no node could ever hold it: Ray would wait without an end."""
    have = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(each.get(name, 0) >= amount for name, amount in wanted.items()) for each in have):
        return
    hint = "ask for less; or, if the cluster grows by itself, say how long to wait: wait=600"
    for name, amount in wanted.items():
        most = max((each.get(name, 0) for each in have), default=0)
        if most < amount:
            found = f"the largest has {_amount(name, most)}" if most else "none has any"
            raise Refused(f"no node of the cluster has {_amount(name, amount)}: {found}", hint)
    raise Refused(f"no node of the cluster has {_shown(wanted)} together", hint)


def _shown(wanted: dict[str, float]) -> str:
    return ", ".join(_amount(*each) for each in wanted.items())


def _amount(name: str, amount: float) -> str:
    kind, _, which = name.partition(":")
    if kind in ("node", "accelerator_type") and which:
        return f"the address {which}" if kind == "node" else f"the accelerator {which}"
    if name == "memory":
        return f"{amount / 2**30:.1f} GiB of memory"
    return f"{amount:g} {name}{'s' * (name in ('CPU', 'GPU') and amount != 1)}"


def _explained(error: BaseException) -> tuple[str, str]:
    """Of what Ray raised: one line, and a hint."""
    text = " ".join(str(error).split())[:400] or type(error).__name__
    low = text.lower()
    if "version mismatch" in low or "python version" in low:
        return text, "use the cluster's versions of Ray and Python: CBUILD_RAY=/path/to/python names another"
    if "token" in low or "unauthenticated" in low:
        return text, "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, hold the cluster's token"
    return text, ""


def main() -> NoReturn:
    writing = os.dup(1)
    os.dup2(2, 1)  # whatever prints, the stream stays clean
    over, done = threading.Event(), threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    line = b""
    while not line.endswith(b"\n"):
        char = os.read(0, 1)
        if not char:
            os._exit(0)
        line += char

    def say(phase: str, trouble: str = "", hint: str = "") -> None:
        os.write(writing, json.dumps({"phase": phase, "trouble": trouble, "hint": hint}).encode() + b"\n")

    client = Client(json.loads(line), say, over)

    def watch() -> None:
        """Nothing comes before the answer but the end: then a connection that is being made is given up."""
        while not done.is_set():
            if select.select([0], [], [], _LOOK)[0]:
                over.set()
                if not done.wait(_FAREWELL):
                    os._exit(1)

    ended: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()

    def carry(carrying: Callable[[int], str | None], file: int) -> None:
        try:
            fault = carrying(file)
            if fault is not None:
                ended.put((True, fault))
        except Exception as error:  # noqa: BLE001  the worker was lost, or the cluster, or this side's reader
            ended.put((False, f"the Ray worker on {client.node} was lost: {type(error).__name__}"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    status = 1
    try:
        client.connect()
        client.place()
        done.set()
        watcher.join()
        if not over.is_set():
            say("")
            for way in ((client.take, 0), (client.give, writing)):
                threading.Thread(target=carry, args=way, daemon=True).start()
            sound, text = _first(ended)
            status = 0 if sound else 1
            if text:
                print(text, file=sys.stderr)
    except Refused as refusal:
        say("", str(refusal), refusal.hint)
    except Exception as error:  # noqa: BLE001  the process border: whoever started it shows its last line
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        done.set()
        _leave(client, status)


def _first(ended: queue.SimpleQueue[tuple[bool, str]]) -> tuple[bool, str]:
    """Waits in short steps, so that a signal is heard."""
    while True:
        try:
            return ended.get(timeout=0.5)
        except queue.Empty:
            continue


def _leave(client: Client, status: int) -> NoReturn:
    """Give the worker back, and go; also if Ray no longer answers."""
    timer = threading.Timer(_FAREWELL, os._exit, [status])
    timer.daemon = True
    timer.start()
    try:
        client.close()
    except Exception as error:  # noqa: BLE001  the cluster ends a worker without a client by itself
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
