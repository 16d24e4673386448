"""What a run that does not come to its summary must have said by then: which tests failed, and why a worker is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["Watched"]


class Watched:
    """Prints failures at once, in the process that reports.

    pytest names them at the end, and a run that is stopped by its time limit has no end.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def _print(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(text)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            reason = report.longreprtext.strip().splitlines() or [""]
            self._print(f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s): {reason[-1][:300]}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object, error: object) -> None:
        if error:
            self._print(f"worker lost: {error}; {machine()}")


def machine() -> str:
    """Free memory and space, and how often the kernel killed for want of memory since it started."""
    memory = {name: int(rest.split()[0]) >> 10 for name, rest in _lines("meminfo", ":")}
    events = {name: rest.strip() for name, rest in _lines("vmstat", " ")}
    disk = os.statvfs(".")
    return (
        f"memory available {memory['MemAvailable']} MiB, shared {memory['Shmem']} MiB, "
        f"disk free {disk.f_bavail * disk.f_frsize >> 20} MiB, "
        f"processes killed for want of memory {events.get('oom_kill', '?')}"
    )


def _lines(name: str, between: str) -> list[tuple[str, str]]:
    parts = [line.partition(between) for line in Path("/proc", name).read_text().splitlines()]
    return [(before, after) for before, _, after in parts]
