"""Settings of the backends on LiteRT models."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Parity, ParityCheck

__all__ = ["EthosUSettings", "LiteRtSettings"]

Accelerator = Literal[
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
]  # fmt: skip
System = Literal[
    "Ethos_U55_Deep_Embedded", "Ethos_U55_High_End_Embedded", "Ethos_U65_Embedded", "Ethos_U65_Mid_End",
    "Ethos_U65_High_End", "Ethos_U65_Client_Server", "Ethos_U85_SYS_Flash_Low", "Ethos_U85_SYS_Flash_High",
    "Ethos_U85_SYS_DRAM_Low", "Ethos_U85_SYS_DRAM_Mid", "Ethos_U85_SYS_DRAM_High",
]  # fmt: skip
Memory = Literal[
    "Sram_Only", "Shared_Sram", "Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_384KB", "Dedicated_Sram_512KB"
]


class LiteRtSettings(Params):
    """Run on LiteRT."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads when it runs on this machine")] = 1
    xnnpack: Annotated[
        bool,
        Meta(description="run operators on XNNPACK; false: on LiteRT's own kernels, as where XNNPACK is not built in"),
    ] = True
    parity: ParityCheck = Parity()


class EthosUSettings(Params):
    """Compile for an Arm Ethos-U, the neural processor of microcontrollers."""

    accelerator: Annotated[Accelerator, Meta(description="the Ethos-U, and how many products it computes at once")] = (
        "ethos-u55-256"
    )
    system: Annotated[
        System | None,
        Meta(description="clock and memories that the estimate assumes, as Vela names them (default: Vela's own)"),
    ] = None
    memory: Annotated[
        Memory | None, Meta(description="which memory holds what, as Vela names it (default: Vela's own)")
    ] = None
    optimize: Annotated[Literal["performance", "size"], Meta(description="for speed, or for less memory")] = (
        "performance"
    )
