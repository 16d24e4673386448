"""A toy project whose builds take a tenth of a second: the command and its nodes run in this process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from command import Inline, Ran
from inline import InlineExecutor

from compressbuild import noop

__all__ = ["Child", "Quick"]


class Quick(Inline):
    """The no-op is asked first, as the real command does."""

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        with mock.patch("compressbuild.build.run.LocalExecutor", side_effect=lambda *_, **__: InlineExecutor()):
            with self.world(*args, **env):
                if (known := noop.check(list(args))) is not None:
                    return Ran(0, known[0], "")
            return super().__call__(*args, code=code, timeout=timeout, **env)

    def copy(self, root: Path) -> Quick:
        super().copy(root)
        return type(self)(root, toy=self.toy)

    def everything(self) -> dict[str, bytes | None]:
        """The published files, seals and metrics too; None for what is no regular file."""
        build = self.root / "build"
        return {
            path.relative_to(build).as_posix(): path.read_bytes() if path.is_file() and not path.is_symlink() else None
            for path in sorted(build.rglob("*"))
            if path.is_symlink() or not path.is_dir()
        }

    def fork(self, *args: str, log: Path | None = None) -> Child:
        """Run a command in a child."""
        said = self.root.parent / f"said-{uuid.uuid4().hex}"
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                with mock.patch.object(InlineExecutor, "start", _logged(log)) if log else contextlib.nullcontext():
                    ran = self(*args, code=None)
                said.write_text(ran.text)
                status = ran.code
            except BaseException:  # noqa: BLE001  pytest's stack must not unwind twice
                said.write_text(traceback.format_exc())
            finally:
                os._exit(status)
        return Child(pid, said)

    def killed(self, seconds: float, *args: str) -> bool:
        """kill -9 a command after these seconds; whether it still ran then."""
        child = self.fork(*args)
        time.sleep(seconds)
        child.signal(signal.SIGKILL)
        return child.wait(10) == -signal.SIGKILL


class Child:
    """A forked command."""

    def __init__(self, pid: int, said: Path) -> None:
        self.pid = pid
        self._said = said
        self.status: int | None = None

    @property
    def text(self) -> str:
        return self._said.read_text() if self._said.exists() else ""

    def signal(self, number: int) -> None:
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """Its exit status, negative for a signal. AssertionError, and its end, if it takes longer."""
        deadline = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                raise AssertionError(f"hung for {seconds} s")
            else:
                time.sleep(0.002)
        return self.status


def _logged(log: Path) -> Callable[..., None]:
    """``InlineExecutor.start`` that first notes who runs what."""
    start = InlineExecutor.start

    def logged(self: InlineExecutor, token: int, request: Any, **rest: Any) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {request.label}\n")
        start(self, token, request, **rest)

    return logged
