"""Running one node for real: a project directory, an executor, and the request made short."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressbuild.api import WorkRequest
from compressbuild.execute.executor import Finished, Happening, Started
from compressbuild.execute.local import LocalExecutor

HERE = Path(__file__).parent


@dataclass
class Bench:
    """An executor with a project below ``tmp``."""

    tmp: Path
    executor: LocalExecutor
    tokens: int = 0
    preload: tuple[str, ...] = ()

    @property
    def project(self) -> Path:
        return self.tmp / "project"

    def log(self, token: int) -> Path:
        return self.tmp / "logs" / f"{token}.log"

    def request(self, function: str, /, params: dict[str, Any] | None = None, **fields: Any) -> WorkRequest:
        """``function`` of nodes_for_tests, or ``module:function``."""
        run = function if ":" in function else f"nodes_for_tests:{function}"
        base = self.tmp / "nodes" / str(self.tokens)
        given: dict[str, Any] = {
            "label": run,
            "run": run,
            "params": params or {},
            "out": str(base / "out"),
            "scratch": str(base / "scratch"),
            "root": str(self.project),
            "code_roots": (str(self.project), str(HERE)),
            "code_files": (str(HERE / "nodes_for_tests.py"),),
        }
        return WorkRequest(**(given | fields))

    def start(
        self,
        function: str,
        /,
        params: dict[str, Any] | None = None,
        *,
        preload: tuple[str, ...] = (),
        timeout: float | None = None,
        memory: int | None = None,
        **fields: Any,
    ) -> int:
        self.tokens += 1
        request = self.request(function, params, **fields)
        self.executor.start(
            self.tokens,
            request,
            preload=preload or self.preload,
            log=self.log(self.tokens),
            timeout=timeout,
            memory=memory,
        )
        return self.tokens

    def collect(self, count: int = 1) -> list[Happening]:
        """All that happens until ``count`` nodes have finished."""
        found: list[Happening] = []
        while sum(isinstance(each, Finished) for each in found) < count:
            found += self.executor.wait(30.0)
        return found

    def until_started(self, count: int = 1) -> None:
        """Until ``count`` nodes run; what else happens meanwhile is lost."""
        started = 0
        while started < count:
            started += sum(isinstance(each, Started) for each in self.executor.wait(30.0))

    def run(self, function: str, /, params: dict[str, Any] | None = None, **options: Any) -> Finished:
        token = self.start(function, params, **options)
        (finished,) = [each for each in self.collect() if isinstance(each, Finished)]
        assert finished.token == token
        return finished


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether ``condition`` comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
