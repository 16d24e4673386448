"""Settings of the two TensorRT backends."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    FileRef,
    Meta,
    Needs,
    Params,
    Positive,
)

__all__ = ["EngineSettings", "TensorRTRTXSettings", "TensorRTSettings"]

_RTX_RUN = "running an engine needs an NVIDIA RTX GPU of its compute capability, with a driver"


_CUDA = (("libcuda.so.1", "nvcuda.dll"),)  # comes with the driver


class EngineSettings(Params):
    """What the two TensorRT backends share."""

    profiles: Annotated[
        dict[str, list[int | list[int]]],
        Meta(
            description="range of each dynamic axis, by the name of the axis or of the input: `{batch: [1, 8, 64]}` is "
            "minimum, optimum, maximum; whole shapes by input: `{image: [[1, 3, 8, 8], [8, 3, 8, 8], [64, 3, 8, 8]]}` "
            "(of an input that is itself a shape: its values); a dynamic first axis is `[1, 8, 64]` by default"
        ),
    ] = {}
    flags: Annotated[
        tuple[str, ...],
        Meta(description="builder flags by name (`sparse-weights`, `strict-nans` …); `no-` before a name clears it"),
    ] = ()
    workspace: Annotated[Positive | None, Meta(description="bytes of GPU memory that a layer may use")] = None
    optimization_level: Annotated[
        Annotated[int, Meta(ge=0, le=5)] | None,
        Meta(description="0 (fastest build) to 5 (fastest engine); without it, the library's default"),
    ] = None


class TensorRTRTXSettings(EngineSettings, kw_only=True):
    """Cross-compile for NVIDIA RTX GPUs."""

    compute_capability: Annotated[
        str | list[str],
        Meta(
            description="GPU architectures that the engine is for: `sm86`, or `[sm86, sm89, sm120]`; `current` "
            "needs a GPU"
        ),
    ]

    def capabilities(self) -> tuple[str, ...]:
        """What is asked for, each once, as TensorRT-RTX names it in lower case: ``8.9`` and ``SM89`` are ``sm89``."""
        wanted = [self.compute_capability] if isinstance(self.compute_capability, str) else self.compute_capability
        names = (text.strip().lower().replace(".", "") for text in wanted)
        return tuple(dict.fromkeys(f"sm{name}" if name.isdecimal() else name for name in names))

    def needs(self) -> Needs:
        current = "current" in self.capabilities()
        return Needs(libraries=_CUDA, gpu=True, install=_RTX_RUN) if current else Needs()

    def run_needs(self) -> Needs:
        named = tuple(name for name in self.capabilities() if name != "current")
        return Needs(gpu_sm=named, install=_RTX_RUN)


class TensorRTSettings(EngineSettings, kw_only=True):
    """Build on, and for, the NVIDIA GPU of the machine."""

    hardware_compatibility: Annotated[
        Literal["none", "ampere-plus", "same-compute-capability"],
        Meta(description="which GPUs, other than the one it was built on, may run the engine"),
    ] = "none"
    version_compatible: Annotated[bool, Meta(description="let later TensorRT versions load the engine")] = False
    timing_cache: Annotated[
        FileRef | None,
        Meta(description="a timing cache of the project to start from, such as `timing.cache` of an earlier artifact"),
    ] = None
    save_timing_cache: Annotated[bool, Meta(description="publish `timing.cache` beside the engine")] = False
