"""Runs one function as a build would, in two worlds that differ in everything that must not matter."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from ...digest import file_digest
from ...execute.executor import Finished
from ...execute.local import LocalExecutor
from ...store.tree import scan
from ..work import WorkInput, WorkRequest, WorkResult
from .watch import ORDER, Order, Report

__all__ = ["Ran", "contents", "run"]

_CALL = "compressbuild.api.conformance.watch:call"
# Of two runs in two processes: hash seed, time zone (their dates always differ), names in the environment.
_WORLDS = (
    {"PYTHONHASHSEED": "1", "TZ": "Etc/GMT+12"},
    {"PYTHONHASHSEED": "77", "TZ": "Etc/GMT-14", "USER": "somebody", "LOGNAME": "somebody", "COLUMNS": "40"},
)
_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Ran:
    """One run. ``again``: where the same process wrote its first call. ``spoiled``: an input file that changed.
    ``strays``: files left where a function may not write."""

    request: WorkRequest
    result: WorkResult
    cause: str
    report: Report
    log: str
    out: Path
    again: Path | None
    spoiled: str | None
    strays: tuple[str, ...]

    @property
    def error(self) -> str:
        return self.result.error or ""


def contents(directory: Path) -> dict[str, str]:
    """Path → digest of every file. StoreError for what an artifact may not hold."""
    files, empty = scan(str(directory))
    return {found.path: file_digest(directory / found.path) for found in files} | dict.fromkeys(empty, "")


def run(
    request: WorkRequest,
    place: Path,
    *,
    run: str,
    owner: str,
    world: int = 0,
    twice: bool = False,
    preload: tuple[str, ...] = (),
    readable: tuple[str, ...] = (),
    environment: tuple[str, ...] = (),
) -> Ran:
    """Run ``run`` in a worker. ``request``: its ``out`` and ``scratch`` are set here, and its inputs copied."""
    deep = place / ("there/and/back" if world else "here")
    deep.mkdir(parents=True)
    out, again, side = deep / "out", deep / "before" if twice else None, place / "side"
    side.mkdir()
    inputs = {role: _copied(entry, deep / "inputs" / role) for role, entry in request.inputs.items()}
    order = Order(
        run=run,
        owner=owner,
        report=str(side / "report.json"),
        again=str(again) if again else None,
        readable=(*readable, request.root),
        environment=environment,
    )
    request = msgspec.structs.replace(
        request,
        run=_CALL,
        inputs=inputs,
        out=str(out),
        scratch=str(deep / "scratch"),
        env={**request.env, ORDER: msgspec.json.encode(order).decode()},
    )
    before = {role: _stats(Path(entry.path)) for role, entry in inputs.items()}
    project = _stats(Path(request.root))
    finished = _in_worker(request, world, preload, side / "log")
    report_file = side / "report.json"
    return Ran(
        request,
        finished.result,
        finished.cause,
        msgspec.json.decode(report_file.read_bytes(), type=Report) if report_file.exists() else Report(),
        (side / "log").read_text(errors="replace"),
        out,
        again,
        next((f"{role}/{name}" for role in inputs for name in _changed(before[role], Path(inputs[role].path))), None),
        (*_changed(project, Path(request.root)), *_strays(deep)),
    )


def _in_worker(request: WorkRequest, world: int, preload: tuple[str, ...], log: Path) -> Finished:
    executor = _executor(world)
    executor.start(0, request, preload=preload, log=log, timeout=_TIMEOUT, memory=None)
    while True:
        for happening in executor.wait():
            if isinstance(happening, Finished):
                return happening


@cache
def _executor(world: int) -> LocalExecutor:
    """Its warm parents live until the tests end."""
    path = os.pathsep.join(os.path.abspath(each) for each in sys.path if each)
    executor = LocalExecutor({**os.environ, "PYTHONPATH": path}, variables=_WORLDS[world])
    atexit.register(executor.close)
    return executor


def _copied(entry: WorkInput, to: Path) -> WorkInput:
    shutil.copytree(entry.path, to)
    return msgspec.structs.replace(entry, path=str(to))


Stats = Mapping[str, tuple[int, int, int]]


def _stats(directory: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for base, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(base, name)
            info = os.lstat(path)
            found[os.path.relpath(path, directory)] = (info.st_mtime_ns, info.st_size, info.st_ino)
    return found


def _changed(before: Stats, directory: Path) -> list[str]:
    after = _stats(directory)
    return sorted(
        name
        for name in {*before, *after}
        if before.get(name) != after.get(name) and "__pycache__" not in name.split(os.sep)
    )


def _strays(deep: Path) -> list[str]:
    """What lies beside the directories that the run was given."""
    given = {"out", "out.scratch", "scratch", "before", "before.scratch", "inputs"}
    return sorted(str(path) for path in deep.iterdir() if path.name not in given)
