"""``/proc/cpuinfo`` → the processor's name and the instruction set extensions that numeric kernels are chosen by."""

from __future__ import annotations

import msgspec

__all__ = ["EXTENSIONS", "Processor", "parse_cpuinfo"]

# As the Linux kernel spells them (arch/x86/include/asm/cpufeatures.h, arch/arm64/kernel/cpuinfo.c). Extensions that no
# inference or training kernel selects on are left out, so that they do not part keys and measurements for nothing.
_X86 = """
    sse4_1 sse4_2 avx avx2 f16c fma avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ne_convert avx_ifma
    avx512f avx512bw avx512cd avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bf16
    avx512_fp16 avx512_bitalg avx512_vpopcntdq amx_tile amx_int8 amx_bf16 amx_fp16
"""
_ARM = "asimd asimdhp asimddp asimdfhm i8mm bf16 sve sve2 svei8mm svebf16 sme sme2 smei8i32 smef16f32 smeb16f32"
EXTENSIONS = frozenset(_X86.split()) | frozenset(_ARM.split())

# ARM kernels give numbers for names: MIDR_EL1 implementer and part, named as by lscpu (util-linux, lscpu-arm.c).
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x46", "0x001"): "A64FX",
    ("0x4e", "0x004"): "Carmel",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a",
}


class Processor(msgspec.Struct, frozen=True):
    """``isa``: the extensions that every processor of the host has, sorted; None where the kernel lists none."""

    model: str | None
    isa: tuple[str, ...] | None


def parse_cpuinfo(text: str) -> Processor:
    """Read the text of ``/proc/cpuinfo``. Where processors differ (big.LITTLE): all names, and the common ISA."""
    models: list[str] = []
    common: frozenset[str] | None = None
    for block in text.split("\n\n"):
        fields = {}
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields[key.strip()] = value.strip()
        flags = fields.get("flags", fields.get("Features"))
        if flags is not None:
            found = EXTENSIONS.intersection(flags.split())
            common = found if common is None else common & found
        model = fields.get("model name") or _arm_name(fields)
        if model and model not in models:
            models.append(model)
    return Processor(" + ".join(models) or None, None if common is None else tuple(sorted(common)))


def _arm_name(fields: dict[str, str]) -> str | None:
    implementer, part = fields.get("CPU implementer"), fields.get("CPU part")
    if implementer is None or part is None:
        return None
    return _ARM_PARTS.get((implementer, part), f"ARM {implementer}/{part}")
