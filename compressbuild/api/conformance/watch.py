"""Runs a plugin's function inside a worker and notes what it does beyond reading its inputs and writing ``ctx.out``.

Only what the interpreter does raises audit events: what a library opens in C or in a child process is not seen here.
The bench compares directories before and after for that.
"""

from __future__ import annotations

import inspect
import math
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..context import Context, UserError, resolve

__all__ = ["ORDER", "Order", "Report", "call"]

ORDER = "CBUILD_CONFORMANCE"
"""The variable that carries the order to the worker; the function does not see it."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.rename": 1, "os.link": 1, "os.symlink": 1, "os.truncate": 0, "os.remove": 0, "os.rmdir": 0}
# What describes the machine's software, or is no file at all.
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/usr/", "/lib/", "/lib64/", "/opt/", "/System/", "/Library/")
_SYSTEM_FILES = ("/etc/localtime", "/etc/os-release", "/etc/mime.types", "/etc/timezone", "/etc/ld.so.cache")
_CODE = (".py", ".pyc", ".so", ".pyd")
_LATER = 400 * 86400.0  # seconds by which the clock of the second run is ahead
_ENDING = 2.0  # seconds in which threads that were asked to end do


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """``run``: the function to call; ``owner``: a function of the plugin whose code it is. ``again``: call it twice,
    first into ``again``, on a shifted clock. ``report``: where to write the :class:`Report`. ``readable``: files and
    directories it may read beside its inputs. ``environment``: variables it may read."""

    run: str
    owner: str
    report: str
    again: str | None = None
    readable: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()


class Report(msgspec.Struct, kw_only=True):
    """What was noted. ``raised``: the exception's class, empty if it returned. ``lines``: of its message."""

    reads: list[str] = []
    own_data: list[str] = []
    writes: list[str] = []
    connections: list[str] = []
    variables: list[str] = []
    threads: list[str] = []
    modules: list[str] = []
    mutable: list[str] = []
    not_finite: list[str] = []
    raised: str = ""
    refused: bool = False
    lines: int = 0


def call(ctx: Context, *arguments: Any) -> Any:
    """The node's function: what it returns, or raises, comes through."""
    order = msgspec.json.decode(os.environ.pop(ORDER), type=Order)
    report = Report()
    function = resolve(order.run)
    report.mutable = list(_mutable_defaults(function))
    own = _packages_of(order.owner)
    watch = _Watch(order, ctx, own, report)
    before = set(threading.enumerate())
    if order.again is not None:
        time.time = _later(time.time)
        time.time_ns = lambda: int(time.time() * 1e9)
    watch.start()
    try:
        if order.again is not None:
            function(_elsewhere(ctx, Path(order.again)), *arguments)
        returned = function(ctx, *arguments)
        report.not_finite = list(_not_finite(returned))
        return returned
    except BaseException as error:
        report.raised, report.refused = type(error).__name__, isinstance(error, UserError)
        report.lines = len(str(error).strip().splitlines())
        raise
    finally:
        watch.stop()
        report.threads = sorted(_left(before))
        report.modules = sorted(_modules_below(own))
        Path(order.report).write_bytes(msgspec.json.encode(report))


def _left(before: Collection[threading.Thread]) -> Iterator[str]:
    """Names of threads that go on. Those of a pool that was shut down without waiting come to their end first."""
    end = time.monotonic() + _ENDING
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                yield thread.name


def _later(clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: clock() + _LATER


def _elsewhere(ctx: Context, out: Path) -> Context:
    """The same node with another output directory."""
    scratch = out.with_name(out.name + ".scratch")
    for directory in (out, scratch):
        directory.mkdir(parents=True, exist_ok=True)
    request = msgspec.structs.replace(ctx._request, out=str(out), scratch=str(scratch), checkpoint=None)
    return Context(request, lambda values: None)


def _packages_of(reference: str) -> tuple[str, ...]:
    """Directory of the top-level package that a function is in, or the file of a single module."""
    resolve(reference)
    top = sys.modules[reference.partition(":")[0].partition(".")[0]]
    places = list(getattr(top, "__path__", []))
    return tuple(os.path.abspath(place) + os.sep for place in places) or (os.path.abspath(top.__file__ or ""),)


def _modules_below(own: tuple[str, ...]) -> Iterator[str]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and os.path.abspath(file).startswith(own):
            yield os.path.abspath(file)


def _mutable_defaults(function: Any) -> Iterator[str]:
    """Arguments whose default is one object for all calls, and can be changed."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return
    for parameter in parameters:
        if isinstance(parameter.default, list | dict | set | bytearray):
            yield parameter.name


def _not_finite(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _not_finite(item, f"{where}[{index}]")
    else:
        scalar = callable(getattr(value, "item", None)) and getattr(value, "size", 0) == 1
        number = value.item() if scalar else value
        if isinstance(number, float) and not math.isfinite(number):
            yield f"{where} = {number}"


class _Watch:
    """Notes into a :class:`Report` between :meth:`start` and :meth:`stop`."""

    def __init__(self, order: Order, ctx: Context, own: tuple[str, ...], report: Report) -> None:
        request = ctx._request
        mine = [request.out, request.scratch, request.checkpoint, order.again, f"{order.again}.scratch"]
        self._writable = (*_below([each for each in mine if each]), "/dev/", "/proc/")
        inputs = [entry.path for entry in request.inputs.values()]
        python = [sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), *_site_packages()]
        self._readable = (*self._writable, *_below([*inputs, *order.readable, *python]), *_SYSTEM)
        self._files = {*map(os.path.abspath, order.readable), *_SYSTEM_FILES, order.report}
        self._own = own
        self._allowed = set(order.environment)
        self._report = report
        self._on = False

    def start(self) -> None:
        """An audit hook cannot be removed; the process ends with the node."""
        self._on = True
        sys.addaudithook(self._hear)
        watch, environ = self._note_variable, os.environ

        class Watched(type(environ)):  # type: ignore[misc]
            def __getitem__(self, key: str) -> str:
                watch(key)
                found: str = super().__getitem__(key)
                return found

        environ.__class__ = Watched

    def stop(self) -> None:
        self._on = False

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        if event == "open":
            path = _absolute(args[0])
            if path is not None and args[2] & _WRITES:
                self._note_write(path)
            elif path is not None:
                self._note_read(path)
        elif event in _CHANGES:
            path = _absolute(args[_CHANGES[event]])
            if path is not None:
                self._note_write(path)
        elif event == "socket.connect" and isinstance(args[1], tuple):
            _add(self._report.connections, str(args[1][0]))

    def _note_write(self, path: str) -> None:
        if not f"{path}/".startswith(self._writable) and "/__pycache__/" not in path:
            _add(self._report.writes, path)

    def _note_read(self, path: str) -> None:
        if path in self._files or path.endswith(_CODE) or ".dist-info/" in path or ".egg-info/" in path:
            return
        if path.startswith(self._own) and os.path.isfile(path):
            _add(self._report.own_data, path)
        elif not path.startswith(self._readable) and os.path.isfile(path):
            _add(self._report.reads, path)

    def _note_variable(self, key: str) -> None:
        """If it is the plugin's own code that asks; libraries read many."""
        if not self._on or key in self._allowed:
            return
        frame = sys._getframe(2)
        while frame is not None and frame.f_code.co_filename in _BETWEEN:
            frame = frame.f_back  # type: ignore[assignment]
        if frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(self._own):
            _add(self._report.variables, key)


_BETWEEN = {os.__file__, "<frozen os>", "<frozen _collections_abc>", inspect.getfile(Mapping)}


def _add(found: list[str], value: str) -> None:
    if value not in found:
        found.append(value)


def _site_packages() -> list[str]:
    return [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]


def _below(directories: list[str]) -> tuple[str, ...]:
    forms = {form for each in directories for form in (os.path.abspath(each), os.path.realpath(each))}
    return tuple(sorted(form.rstrip("/") + "/" for form in forms))


def _absolute(path: Any) -> str | None:
    if isinstance(path, int) or path is None:
        return None
    return os.path.abspath(os.fsdecode(path))
