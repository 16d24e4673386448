"""TensorRT's nested build phases → one fraction."""

from __future__ import annotations

from typing import Any

from compressbuild.api import Context

__all__ = ["Phases", "monitor"]


class Phases:
    """The fraction done of a tree of phases, each of a number of equal steps, reported as it grows."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # name → parent, steps, done
        self._shown = -1

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._phases[name] = (parent, max(steps, 1), 0)

    def step(self, name: str, step: int) -> None:
        parent, steps, _ = self._phases.get(name, (None, 1, 0))
        self._phases[name] = (parent, steps, min(step + 1, steps))
        percent = int(100 * self._fraction(name))
        if percent > self._shown:
            self._shown = percent
            self._ctx.progress(percent, 100, phase=name)

    def finish(self, name: str) -> None:
        self._phases.pop(name, None)

    def _fraction(self, name: str) -> float:
        parent, steps, done = self._phases[name]
        fraction = done / steps
        while parent in self._phases:
            parent, steps, done = self._phases[parent]
            fraction = (done + fraction) / steps
        return min(fraction, 1.0)


def monitor(trt: Any, ctx: Context) -> Any:
    """An ``IProgressMonitor`` that reports to ``ctx.progress``."""
    phases = Phases(ctx)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            phases.step(name, step)
            return True  # False would cancel the build

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    return Monitor()
