"""A toy project whose builds take a tenth of a second: the command and its nodes run in this process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from unittest import mock

from command import Inline, Ran
from inline import InlineExecutor

from compressbuild import noop

__all__ = ["Quick"]


class Quick(Inline):
    """The no-op is asked first, as the real command does."""

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 300, **env: str) -> Ran:
        with mock.patch("compressbuild.build.run.LocalExecutor", side_effect=lambda *_, **__: InlineExecutor()):
            with self.world(*args, **env):
                if (text := noop.check(list(args))) is not None:
                    return Ran(0, text, "")
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

    def killed(self, seconds: float, *args: str) -> bool:
        """Run a command in a child and kill -9 it after these seconds; whether it still ran then."""
        child = os.fork()
        if child == 0:
            try:
                self(*args, code=None)
            finally:
                os._exit(0)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
