"""The facts that a host is probed for: what ``compile_facts``, ``run_facts`` and a platform's ``requires`` may name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["FACTS"]

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "os": "operating system: Linux, Darwin, Windows",
        "cpu.arch": "x86_64, aarch64 …",
        "cpu.model": "the processor's own name",
        "cpu.isa": "instruction set extensions that kernels are chosen by: avx2, avx512_vnni, amx_int8, asimddp …",
        "cpu.count": "logical processors this process may use",
        "memory": "bytes of memory this process may use",
        "gpu.name": "NVIDIA GPU: product name",
        "gpu.sm": "NVIDIA GPU: compute capability, sm89",
        "gpu.memory": "NVIDIA GPU: bytes of memory",
        "gpu.driver": "NVIDIA GPU: driver version",
    }
)
"""Name of a fact → what it is. A fact that does not apply to a host (``gpu.sm`` with no GPU) is None there."""
