"""The facts of a host: :class:`Host` reads them from the system, :class:`Facts` asks once and remembers."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..api.facts import FACTS
from ..errors import PluginError
from ..words import suggest
from .cgroups import memory_limit, quota
from .nvidia import Gpu, GpuProbe, parse_smi, query_smi, read_proc, visible
from .processor import Processor, parse_cpuinfo

__all__ = ["Fact", "Facts", "Host", "probe"]

Fact = str | int | list[str] | None
"""A JSON value, as facts join keys."""

_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class Facts:
    """Named facts (:data:`compressbuild.api.FACTS`), each probed when first asked for."""

    def __init__(
        self,
        probe: Callable[[str], Fact],
        gpu_reason: Callable[[], str] = lambda: "none found",
        gpus: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._probe = probe
        self._gpu_reason, self._gpus = gpu_reason, gpus
        self._known: dict[str, Fact] = {}

    @classmethod
    def fixed(cls, values: Mapping[str, Fact]) -> Facts:
        """Given facts, all others None: another host, or a test's."""
        for name in values:
            _known_name(name)
        return cls(values.get)

    def get(self, name: str) -> Fact:
        """The fact, or None where it does not apply or cannot be found out. PluginError for an unknown name."""
        if name not in self._known:
            _known_name(name)
            self._known[name] = self._probe(name)
        return self._known[name]

    def select(self, names: tuple[str, ...]) -> dict[str, Fact]:
        """The named facts, in the order of their names."""
        return {name: self.get(name) for name in sorted(set(names))}

    @property
    def gpus(self) -> tuple[str, ...]:
        """Every GPU that this process may use, as CUDA_VISIBLE_DEVICES names it."""
        return self._gpus()

    @property
    def gpu_reason(self) -> str:
        """Why there is no GPU."""
        return self._gpu_reason()


def _known_name(name: str) -> None:
    if name not in FACTS:
        hint = suggest(name, FACTS, otherwise=f"known: {', '.join(FACTS)}")
        raise PluginError(f"unknown platform fact '{name}'", hint=hint)


class Host:
    """This machine, read below ``root``. ``smi`` gives nvidia-smi's output and what went wrong."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        environ: Mapping[str, str] = os.environ,
        smi: Callable[[Path], tuple[str, str | None]] = query_smi,
    ) -> None:
        self._root = root
        self._environ = environ
        self._smi = smi
        self._processor: Processor | None = None
        self._gpu: GpuProbe | None = None

    def fact(self, name: str) -> Fact:
        if name == "cpu.model":
            return self.processor().model or self._architecture()
        if name == "cpu.isa":
            isa = self.processor().isa
            return None if isa is None else list(isa)
        if name.startswith("gpu."):
            found = self.gpu().gpus[:1]
            return getattr(found[0], name.removeprefix("gpu.")) if found else None
        simple: dict[str, Callable[[], Fact]] = {
            "os": self._system,
            "cpu.arch": self._architecture,
            "cpu.count": self._count,
            "memory": self._memory,
        }
        return simple[name]()

    def processor(self) -> Processor:
        if self._processor is None:
            self._processor = parse_cpuinfo(self._text("proc/cpuinfo") or "")
        return self._processor

    def gpu(self) -> GpuProbe:
        if self._gpu is None:
            self._gpu = self._find_gpus()
        return self._gpu

    def _find_gpus(self) -> GpuProbe:
        text, wrong = self._smi(self._root)
        gpus: tuple[Gpu, ...] = parse_smi(text) or read_proc(self._root)
        if not gpus:
            return GpuProbe((), wrong or "none found")
        left = visible(gpus, self._environ)
        return GpuProbe(left) if left else GpuProbe((), "hidden by CUDA_VISIBLE_DEVICES")

    def _text(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text(errors="replace")
        except OSError:  # not Linux, or not mounted in this container: the fact is then unknown
            return None

    def _system(self) -> str:
        return os.uname().sysname if hasattr(os, "uname") else "Windows"

    def _architecture(self) -> str:
        machine = os.uname().machine if hasattr(os, "uname") else self._environ.get("PROCESSOR_ARCHITECTURE", "")
        return _ARCHITECTURES.get(machine.lower(), machine)

    def _count(self) -> int:
        """Those of its affinity, or fewer if its control groups give it less time than they have, or if a scheduler
        that enforces nothing gave it fewer ($CBUILD_CPUS)."""
        affinity = getattr(os, "sched_getaffinity", None)  # Linux alone
        processors = len(affinity(0)) if affinity else os.cpu_count() or 1
        allowed = quota(self._root)
        limits = [math.ceil(allowed)] if allowed is not None else []
        return max(1, min((processors, *limits, *self._given("CBUILD_CPUS"))))

    def _memory(self) -> int | None:
        """Installed memory, or the limit of its control groups or of a scheduler ($CBUILD_MEMORY) if that is lower."""
        limits = [limit for limit in (memory_limit(self._root),) if limit is not None]
        for line in (self._text("proc/meminfo") or "").splitlines():
            key, _, value = line.partition(":")
            if key == "MemTotal":
                limits.append(int(value.split()[0]) * 1024)
        if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        return min((*limits, *self._given("CBUILD_MEMORY")), default=None)

    def _given(self, variable: str) -> list[int]:
        text = self._environ.get(variable, "")
        return [int(text)] if text.isdigit() and int(text) > 0 else []


def probe() -> Facts:
    """This host's facts. Costs nothing until one is asked for."""
    host = Host()
    return Facts(host.fact, lambda: host.gpu().reason, lambda: tuple(g.uuid or g.index for g in host.gpu().gpus))
