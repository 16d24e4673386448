"""Standard output on a full or broken disk: what is printed is lost, and said so at the end; no build ends for it."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

__all__ = ["Output"]


class Output(io.FileIO):
    """The file under ``sys.stdout``."""

    def __init__(self) -> None:
        super().__init__(1, "w", closefd=False)
        self.error: OSError | None = None
        plain = sys.stdout
        buffering = bool(plain.line_buffering)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(self), plain.encoding, plain.errors, line_buffering=buffering or self.isatty()
        )

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.error = error
            return len(data)

    def conclude(self, status: int) -> int:
        """The exit status of a command that ended with ``status``."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            sys.stdout.flush()
        if self.error is None:
            return status
        sys.stderr.write(f"cbuild: error: standard output: {self.error.strerror}\n")
        return status or 1
