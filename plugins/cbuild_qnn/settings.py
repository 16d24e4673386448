"""Settings of the QNN backend."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Meta, Params, Parity, ParityCheck, Positive

__all__ = ["QnnSettings"]

Size = Positive


class QnnSettings(Params):
    """Compile for the Hexagon processor (HTP) of Qualcomm's chips."""

    htp_arch: Annotated[
        Literal["v68", "v69", "v73", "v75", "v79", "v81"],
        Meta(description="oldest generation of the HTP that must run it: `v73` since Snapdragon 8 Gen 2, `v75` Gen 3"),
    ] = "v73"
    soc_model: Annotated[
        int,
        Meta(ge=0, description="Qualcomm's number of the chip, 57 for Snapdragon 8 Gen 3; 0: any of that generation"),
    ] = 0
    optimization: Annotated[
        Literal[1, 2, 3], Meta(description="how long the compiler looks for a faster graph; 3: longest")
    ] = 3
    fp16: Annotated[
        bool, Meta(description="compute what is not quantized in float16, which needs `soc-model`; false: not at all")
    ] = False
    cpu_fallback: Annotated[bool, Meta(description="leave operators that the HTP lacks to the CPU")] = False
    sizes: Annotated[
        dict[str, Size],
        Meta(
            description="dynamic axis → its size, as the HTP needs fixed shapes (`{tokens: 128}`); the first axis is 1 "
            "by default, others must be named"
        ),
    ] = {}
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.fp16 and not self.soc_model:
            raise ValueError("'fp16: true' needs 'soc-model', Qualcomm's number of the chip (57: Snapdragon 8 Gen 3)")
