"""What a record, or a value of its parameters, takes of the host."""

from __future__ import annotations

import msgspec

from .record import RecordMeta

__all__ = ["Needs"]


class Needs(msgspec.Struct, metaclass=RecordMeta, frozen=True, kw_only=True):
    """What has to be present on this host, probed without importing anything heavy.

    ``modules``: importable top-level modules. ``libraries``: groups of shared libraries, one of each group must
    load (``(("libnvinfer.so.11", "libnvinfer.so.10"),)``). ``programs``: groups of commands, one of each group must be
    on PATH (``(("g++", "clang++"),)``). ``gpu``: an NVIDIA GPU with its driver. ``gpu_sm``: the compute capabilities
    that will do (``("sm89",)``), where not every such GPU will. ``system``: values of ``platform.system()`` that will
    do. ``install``: how to get what is missing.
    """

    modules: tuple[str, ...] = ()
    libraries: tuple[tuple[str, ...], ...] = ()
    programs: tuple[tuple[str, ...], ...] = ()
    gpu: bool = False
    gpu_sm: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    install: str = ""
