"""One agent at work on another machine, and the stream to it."""

from __future__ import annotations

import contextlib
import json
import queue
import time
from collections.abc import Callable
from threading import Event, Thread, Timer
from typing import Any

from ..api.context import UserError
from ..api.executor import Link, Machine, QueuedLink
from ..api.needs import Needs
from ..errors import CbuildError
from ..platforms import Missing
from .boot import MARK, OLDEST, PROGRAM
from .bundle import LIBRARIES, Bundle, tag
from .wire import PULSE, SILENCE, Answer, Ask, Hello, Message, Ping, Pong, Ready, Wire

__all__ = ["Session", "Unreachable"]

_NOISE = 1 << 16  # bytes that login scripts may print before the agent's first line
_START = 120.0  # seconds to connect, send the code and hear of it
_LOOK = 0.1  # seconds between two looks at a program that waits for a scheduler

Handler = Callable[[Message, Wire], None]
"""Gets a message, and takes the bytes beside it. Runs in the session's thread."""


class Unreachable(CbuildError):
    """A machine cannot be used. The message reads after its address: "cannot be reached: …"."""


class Session:
    """Connects, ships the code that is not there, and starts the agent. ``lost``: why there is no agent any more."""

    def __init__(
        self,
        machine: Machine,
        bundle: Bundle,
        sandbox: str,
        directory: str = "",
        *,
        on_wait: Callable[[str], None] = lambda text: None,
        stop: Event | None = None,
    ) -> None:
        """``on_wait``: hears what a scheduler has it wait for, whenever that changes. ``stop``: set when nobody needs
        the machine any more. Raises Unreachable."""
        self.bundle = bundle
        self.lost: str | None = None
        self._address = machine.address
        self._closing = Event()
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._handler: Handler = lambda message, wire: None
        self._over: Callable[[str], None] = lambda why: None
        self._heard = time.monotonic()
        try:
            self._link: Link = machine.start(PROGRAM)
        except (UserError, OSError) as error:
            raise Unreachable(f"cannot be reached: {error}", hint=getattr(error, "hint", None)) from error
        self._wire = Wire(self._link.stdout, self._link.stdin, self._alive)
        try:
            self._queue(on_wait, stop or Event())
            self.ready = self._begun(directory, sandbox)
        except BaseException:  # Ctrl-C, too: the program is to end at once
            self._link.close()
            raise
        self._threads = [Thread(target=each, daemon=True) for each in (self._listen, self._beat)]
        for thread in self._threads:
            thread.start()

    def _queue(self, on_wait: Callable[[str], None], stop: Event) -> None:
        """Until the program runs: a scheduler may have it wait for hours."""
        if not isinstance(self._link, QueuedLink):
            return
        said = ""
        try:
            while (what := self._link.waiting()) is not None:
                if what and what != said:
                    said = what
                    on_wait(what)
                if stop.wait(_LOOK):
                    raise Unreachable("is not waited for any more")
        except (UserError, OSError) as error:
            raise Unreachable(f"cannot be reached: {error}", hint=getattr(error, "hint", None)) from error
        if said:
            on_wait("")

    def _begun(self, directory: str, sandbox: str) -> Ready:
        """Ship the code and start the agent. What it says of its machine."""
        self._heard = time.monotonic()
        watchdog = Timer(_START, self._link.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            self._boot(directory)
            self._wire.send(Hello(sandbox, tuple(self.bundle.packages)))
            ready = self._wire.receive()
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            fault = self._link.fault() if isinstance(error, OSError | EOFError) else ""  # else it still runs
            why = fault or str(error) or type(error).__name__
            raise Unreachable(f"cannot be reached: {why}") from error
        finally:
            watchdog.cancel()
        if not isinstance(ready, Ready) or ready.trouble:
            raise Unreachable(f"cannot be used: {ready.trouble if isinstance(ready, Ready) else 'no agent answers'}")
        return ready

    def _boot(self, directory: str) -> None:
        said = self._line()
        python = tuple(said["python"])
        if python < OLDEST:
            oldest, found = (".".join(map(str, each)) for each in (OLDEST, python))
            raise Unreachable(f"has Python {found}, and {oldest} or later is needed")
        bundles = [self.bundle]
        if said["lacks"]:
            if said["tag"] != tag():
                raise Unreachable(
                    f"lacks the Python package{'s' * (len(said['lacks']) > 1)} {' and '.join(said['lacks'])}",
                    hint=f"run there: python3 -m pip install {' '.join(said['lacks'])}",
                )
            bundles.append(Bundle(LIBRARIES))
        offer = {"directory": directory, "bundles": [{"digest": each.digest} for each in bundles]}
        self._write(offer)
        for each in bundles:
            if not self._line()["have"]:
                self._write({"size": len(each.packed)}, each.packed)
        if trouble := self._line()["trouble"]:
            raise Unreachable(f"cannot be used: {trouble}")

    def _line(self) -> dict[str, Any]:
        text, mark = b"", MARK.encode()
        while not (mark in text and text.endswith(b"\n")):
            char = self._link.stdout.read(1)
            if not char:
                shown = text.decode(errors="replace").strip().splitlines()
                raise EOFError(shown[-1] if shown else "it ended before it said anything")
            text += char
            if len(text) > _NOISE:
                raise ValueError("what it prints at login is too long: let the login script print nothing")
        found: dict[str, Any] = json.loads(text[text.index(mark) + len(mark) :])
        if found.get("trouble"):
            raise Unreachable(f"cannot be used: {found['trouble']}")
        return found

    def _write(self, line: dict[str, Any], data: bytes = b"") -> None:
        view = memoryview(json.dumps(line).encode() + b"\n" + data)
        while view:
            view = view[self._link.stdin.write(view) or 0 :]

    def _alive(self) -> None:
        self._heard = time.monotonic()

    # -- talking -----------------------------------------------------------------------------------------------------

    def handle(self, handler: Handler, over: Callable[[str], None]) -> None:
        """Whom to give what comes; ``over``: called once, when the session is lost."""
        self._handler, self._over = handler, over
        if self.lost is not None:
            over(self.lost)

    def send(self, message: Message, *files: Any) -> None:
        """OSError once the other side is gone, which ``over`` hears of, too."""
        self._wire.send(message, *files)

    def check(self, needs: Needs) -> tuple[Missing, ...]:
        """What the machine lacks of ``needs``. Raises Unreachable."""
        try:
            self._wire.send(Ask(needs))
            answer = self._answers.get(timeout=SILENCE)
        except (OSError, queue.Empty) as error:
            raise Unreachable(f"cannot be reached: {self.lost or error}") from error
        if answer is None:
            raise Unreachable(f"cannot be reached: {self.lost}")
        return answer.missing

    def _listen(self) -> None:
        why = ""
        try:
            while True:
                message = self._wire.receive()
                if isinstance(message, Answer):
                    self._answers.put(message)
                elif not isinstance(message, Pong):
                    self._handler(message, self._wire)
        except Exception as error:  # noqa: BLE001  the process border: whatever it is, who waits must hear of it
            why = str(error) or type(error).__name__
        self.lost = (not self._closing.is_set() and self._link.fault()) or why
        self._closing.set()
        self._answers.put(None)
        self._link.close()
        self._over(self.lost)

    def _beat(self) -> None:
        while not self._closing.wait(PULSE):
            if time.monotonic() - self._heard > SILENCE:
                self._link.close()  # which ends the other thread's reading
                return
            with contextlib.suppress(OSError):  # the other thread hears of it
                self._wire.send(Ping())

    def cut(self) -> None:
        """Give the stream up, as if the other side were gone."""
        self._link.close()

    def close(self) -> None:
        """End the agent and all that it runs."""
        self._closing.set()
        self._link.close()
        for thread in self._threads:
            thread.join(5.0)
