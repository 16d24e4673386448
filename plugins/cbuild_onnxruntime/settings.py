"""Settings of the two ONNX Runtime backends."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import (
    Meta,
    Needs,
    Params,
    Parity,
    ParityCheck,
)

__all__ = ["OnnxRuntimeSettings", "OrtFormatSettings"]


def _provider(name: str, package: str, *, gpu: bool = False, others: tuple[tuple[str, ...], ...] = ()) -> Needs:
    """The needs of a provider that comes as a library of its own."""
    own = (f"libonnxruntime_providers_{name}.so", f"onnxruntime_providers_{name}.dll")
    return Needs(libraries=(own, *others), gpu=gpu, install=f"pip install {package} instead of onnxruntime")


_PROVIDERS = {
    "cuda": _provider("cuda", "onnxruntime-gpu", gpu=True),
    "tensorrt": _provider(
        "tensorrt", "onnxruntime-gpu, with TensorRT 10,", gpu=True, others=(("libnvinfer.so.10", "nvinfer_10.dll"),)
    ),
    "openvino": _provider("openvino", "onnxruntime-openvino"),
    "directml": Needs(system=("Windows",), install="pip install onnxruntime-directml instead of onnxruntime"),
    "coreml": Needs(system=("Darwin",), install="onnxruntime for macOS has the provider"),
}


class OnnxRuntimeSettings(Params):
    """Run on ONNX Runtime."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads within one operator")] = 1
    optimization: Annotated[
        Literal["disabled", "basic", "extended", "all"],
        Meta(description="graph optimisation level of the session; `all` adds layouts for this machine's processor"),
    ] = "all"
    provider: Annotated[
        Literal["cpu", "cuda", "tensorrt", "directml", "coreml", "openvino"],
        Meta(description="execution provider; a fallback to another is an error"),
    ] = "cpu"
    tf32: Annotated[
        bool,
        Meta(
            description="with `provider: cuda`: round float32 products to TensorFloat-32, which is faster but "
            "less exact"
        ),
    ] = False
    cpu_fallback: Annotated[bool, Meta(description="run operators that the provider lacks on the CPU")] = False
    save_optimized: Annotated[
        bool,
        Meta(
            description="publish the optimised graph (up to `extended`, so that it runs on other processors "
            "too); false: publish the ONNX model unchanged"
        ),
    ] = True
    runtime: Annotated[
        Annotated[str, Meta(pattern=r"^>= ?1\.[0-9]+(\.[0-9]+)?$")] | None,
        Meta(
            description='the oldest ONNX Runtime that has to read the model, `">=1.17"`: published in an opset and IR '
            "version that this one reads, unoptimised",
        ),
    ] = None
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.tf32 and self.provider != "cuda":
            raise ValueError(f"'tf32' is only for 'provider: cuda', but the provider is {self.provider}")

    def needs(self) -> Needs:
        return _PROVIDERS.get(self.provider, Needs())

    run_needs = needs


class OrtFormatSettings(Params):
    """Publish ONNX Runtime's own format, for the CPU."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads within one operator")] = 1
    optimization: Annotated[
        Literal["disabled", "basic", "extended", "all"],
        Meta(
            description="graph optimisation level when the file is written (none happens later); `all` suits "
            "this machine's processor only"
        ),
    ] = "extended"
    parity: ParityCheck = Parity()
