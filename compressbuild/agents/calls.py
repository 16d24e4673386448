"""A command of ``cbuild`` in a process of its own.

So nothing that a build prints can reach the protocol's stream, each call sees the project's code as it is now, and a
call that is cancelled ends like a build that gets Ctrl-C: no process is left, and finished nodes stay cached.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, Process

__all__ = ["Ended", "Refused", "Runner", "cause"]

_GRACE = 20
"""Seconds that a command may take to end after its SIGINT."""


class Refused(Exception):
    """A command that did not do what it was asked. Its text is what the command said: located, with a hint."""


@dataclass(frozen=True)
class Ended:
    """``lines``: of standard output; ``said``: standard error."""

    status: int
    lines: tuple[bytes, ...]
    said: str


class Runner:
    """``options``: follow each command; they say which project it is."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = tuple(options)
        self._running: set[Process] = set()

    async def read(self, command: str, words: Sequence[str] = (), *options: str) -> Ended:
        """A command that only reads. Raises Refused if it fails."""
        ended = await self.run(command, words, *options)
        if ended.status != 0:
            raise Refused(cause(ended))
        return ended

    async def run(
        self,
        command: str,
        words: Sequence[str] = (),
        *options: str,
        watch: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Ended:
        """``words``: its arguments, none of them an option. ``watch``: gets each line at once. Raises Refused if no
        such process can be started."""
        line = [sys.executable, "-P", "-m", "compressbuild", command, *self._options, *options, "--", *words]
        lines: list[bytes] = []
        said: list[bytes] = []

        async def note(text: bytes) -> None:
            said.append(text)

        try:
            process = await anyio.open_process(line, stdin=subprocess.DEVNULL)
        except (OSError, ValueError) as error:  # too many words, or one that no command line can hold
            raise Refused(f"error: the command cannot be run: {error}") from error
        self._running.add(process)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_each_line, process.stderr, note)
                async for text in _lines(process.stdout):
                    lines.append(text)
                    if watch is not None:
                        await watch(text)
            return Ended(await process.wait(), tuple(lines), b"\n".join(said).decode(errors="replace"))
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
                await process.aclose()
            self._running.discard(process)

    async def stop(self) -> None:
        """End the commands that run; who started them reads on."""
        async with anyio.create_task_group() as group:
            for process in tuple(self._running):
                group.start_soon(_interrupt, process)


async def _interrupt(process: Process) -> None:
    """As Ctrl-C does."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGINT)
    with anyio.move_on_after(_GRACE):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _end(process: Process) -> None:
    """Interrupt a process whose output nobody reads any more: a full pipe would hold it."""
    async with anyio.create_task_group() as group:
        group.start_soon(_drain, process.stdout)
        group.start_soon(_drain, process.stderr)
        await _interrupt(process)
        group.cancel_scope.cancel()


async def _drain(stream: ByteReceiveStream | None) -> None:
    async for _ in _lines(stream):
        pass


async def _lines(stream: ByteReceiveStream | None) -> AsyncIterator[bytes]:
    """Lines without their ends; also a last one that has none."""
    if stream is None:
        return
    rest = b""
    async for part in stream:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line
    if rest:
        yield rest


async def _each_line(stream: ByteReceiveStream | None, use: Callable[[bytes], Awaitable[None]]) -> None:
    async for line in _lines(stream):
        await use(line)


def cause(ended: Ended) -> str:
    """What the command said of its failure. Of a traceback, which is a fault of ours, the last line."""
    said = ended.said.strip()
    if "Traceback (most recent call last)" in said:
        return f"error: cbuild itself failed: {said.splitlines()[-1]}\n  hint: run the command in a shell to see where"
    return said or f"error: the command ended with status {ended.status} and said nothing"
