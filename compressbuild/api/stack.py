"""The software that a record's functions run on."""

from __future__ import annotations

import msgspec

from .environment import Environment
from .needs import Needs
from .record import RecordMeta

__all__ = ["Stack"]


class Stack(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """A software stack, said once and shared by the records of a plugin.

    ``modules``: top-level modules that must be importable. ``tools``: distributions whose versions join the key.
    ``preload``: modules that the worker's warm parent imports first; never one that starts a thread.
    ``install``: tells the user how to get what is missing. ``environment``: the Python environment that the functions
    run in, with all that ``modules`` names; None for that of the engine.
    """

    modules: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    install: str = ""
    environment: Environment | None = None

    def also(
        self,
        *,
        modules: tuple[str, ...] = (),
        tools: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
        install: str = "",
    ) -> Stack:
        """This stack with more on top. ``install`` replaces the text, the rest is added."""
        return Stack(
            modules=_union(self.modules, modules),
            tools=_union(self.tools, tools),
            preload=_union(self.preload, preload),
            install=install or self.install,
            environment=self.environment,
        )

    @property
    def needs(self) -> Needs:
        """What the stack takes of the host. The modules of an environment come with it."""
        return Needs(modules=self.modules if self.environment is None else (), install=self.install)


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
