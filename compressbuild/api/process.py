"""A link that is a process of this machine: ``ssh``, or a scheduler's client."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import BinaryIO, cast

from .context import UserError

__all__ = ["ProcessLink"]

_SAID = 1 << 16  # bytes of the error output that count, from its end


class ProcessLink:
    """A :class:`~compressbuild.api.Link` to the program that ``command`` runs, whose streams the command carries.

    ``farewell``: seconds in which the other side can kill what it runs, once its input has ended. ``hint``: the next
    step if the command cannot be run, which is a UserError. ``environment``, ``directory`` and ``descriptors``: of the
    process; those of this one, and no descriptors, unless given. It has a session of its own, so Ctrl-C does not cut it
    before the engine does.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        farewell: float = 5.0,
        hint: str | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._farewell = farewell
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the link
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env=environment,
                cwd=directory,
                pass_fds=tuple(descriptors),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in the command
            self._errors.close()
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise UserError(f"cannot run {command[0]}: {why}", hint=hint) from error
        self.stdin = cast(BinaryIO, self.process.stdin)
        self.stdout = cast(BinaryIO, self.process.stdout)

    def ended(self, seconds: float | None = None) -> bool:
        """Whether the process ends in so many seconds; by default in those of its farewell."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self._farewell if seconds is None else seconds)
        return self.process.poll() is not None

    def errors(self) -> str:
        """The end of what it has written to its error output."""
        descriptor = self._errors.fileno()
        size = os.fstat(descriptor).st_size
        # The process shares the file's position, so it must not move.
        return os.pread(descriptor, _SAID, max(0, size - _SAID)).decode(errors="replace")

    def fault(self) -> str:
        """The last line of its error output, or else its exit status."""
        self.ended()
        if lines := self.errors().strip().splitlines():
            return lines[-1].strip()
        status = self.process.poll()
        return f"the connection ended (exit status {status})" if status else "the connection ended"

    def close(self) -> None:
        """The program's input ends. A process that stays is terminated, and then killed."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        for end in (self.process.terminate, self.process.kill):
            if self.ended():
                return
            end()
        self.process.wait()
