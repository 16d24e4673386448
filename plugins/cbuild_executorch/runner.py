"""Runs a program through ExecuTorch's own runtime, on this machine's processor."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

from cbuild_kit.interface import Interface
from cbuild_torch.model.calling import tensors
from cbuild_torch.model.program import one_line
from executorch.extension.pybindings import _C
from executorch.runtime import Runtime

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import PROGRAM
from .settings import ExecuTorchSettings

__all__ = ["ProgramRunner", "load"]


def load(ctx: Context, artifact: Path, settings: ExecuTorchSettings | None) -> Runner:
    """A Runner of a program; without settings: with one thread."""
    return ProgramRunner(artifact, (settings or ExecuTorchSettings()).threads)


class ProgramRunner:
    """A Runner (see compressbuild.api) on an ExecuTorch program. ``trace``: keep events of what it runs."""

    def __init__(self, artifact: Path, threads: int, *, trace: bool = False) -> None:
        self._interface = Interface.read(artifact)
        self._threads = threads
        _set_threads(threads)
        _open.add(self)
        try:
            self._program = Runtime.get().load_program(artifact / PROGRAM, enable_etdump=trace)
            self._method = self._program.load_method("forward")
        except RuntimeError as error:
            raise UserError(
                f"ExecuTorch {version('executorch')} cannot load the program: {one_line(error)}",
                hint="the node's log shows the runtime's own message",
            ) from error

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._interface.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        values = tensors(self._interface.checked(feeds, "the program"))
        try:
            found = self._method.execute(tuple(values.values()))
        except RuntimeError as error:
            raise UserError(f"ExecuTorch cannot run the program: {one_line(error)}") from error
        return {name: value.numpy() for name, value in zip(self._interface.outputs, found, strict=True)}

    def write_events(self, file: Path) -> None:
        """Write the events since the program was loaded, or since the last call, as an ETDump."""
        self._program.write_etdump_result_to_file(str(file), str(file.with_suffix(".debug")))

    def describe(self) -> dict[str, Any]:
        return {"runtime": "executorch", "version": version("executorch"), "threads": self._threads}


_open: WeakSet[ProgramRunner] = WeakSet()


def _set_threads(threads: int) -> None:
    """There is one pool for all programs, and a program keeps the one it was loaded with: put in another, and it waits
    on memory that is gone. UserError while a program of another number of threads is open."""
    if _C._threadpool_get_thread_count() != threads:
        if _open:
            raise UserError(
                f"ExecuTorch has one thread pool per process: a program with {threads} cannot run beside one with "
                f"{_C._threadpool_get_thread_count()}",
                hint="give both platforms the same 'threads:'",
            )
        _C._unsafe_reset_threadpool(threads)
