"""A plugin whose machines are this one, and are given by a scheduler: ``lobby://free`` at once, ``lobby://busy`` after
a while, ``lobby://full`` never; ``lobby://wrong`` cannot be had."""

from __future__ import annotations

import tempfile
from pathlib import Path

from nearby import Nearby, Pipes

from compressbuild.api import Executor, Params, UserError, hookimpl


class Lobby(Params):
    """Where its account's files lie."""

    home: str = ""


class Waiting(Pipes):
    name = ""
    looks = 0
    closed = False

    def waiting(self) -> str | None:
        self.looks += 1
        if self.name == "wrong":
            raise UserError("no such room", hint="'rooms' lists them")
        if self.name == "full" or (self.name == "busy" and self.looks < 5):
            if self.looks == 1:
                return ""
            return f"job 7 is pending ({'Priority' if self.looks < 4 else 'Resources'})"
        return None

    def close(self) -> None:
        self.closed = True
        super().close()


class Room(Nearby):
    """``given``: all links of all rooms."""

    given: list[Waiting] = []

    def __init__(self, name: str, home: Path) -> None:
        super().__init__(home)
        self.address, self.name = f"lobby://{name}", name

    def start(self, program: str) -> Waiting:
        link = Waiting(program, self.home, self.python, self.before)
        link.name = self.name
        self.given.append(link)
        return link


def open_machine(address: str, options: Lobby) -> Room:
    return Room(address.partition("://")[2], Path(options.home or tempfile.gettempdir()))


@hookimpl
def compressbuild_executors():
    yield Executor(name="lobby", schemes=("lobby",), queued=True, open="lobby:open_machine", options=Lobby)
