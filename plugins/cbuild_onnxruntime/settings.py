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
    """What a provider takes that comes as a library of its own, beside ONNX Runtime's."""
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
        Meta(description="graph optimisation level of the session; `all` adds layouts made for this very processor"),
    ] = "all"
    provider: Annotated[
        Literal["cpu", "cuda", "tensorrt", "directml", "coreml", "openvino"],
        Meta(description="execution provider; a session that ends on another one is an error"),
    ] = "cpu"
    tf32: Annotated[
        bool,
        Meta(
            description="with `provider: cuda`: round float32 products to TensorFloat-32, which is faster and "
            "no longer float32"
        ),
    ] = False
    cpu_fallback: Annotated[
        bool, Meta(description="run single operators that the provider lacks on the CPU provider")
    ] = False
    save_optimized: Annotated[
        bool,
        Meta(
            description="publish the optimised graph (up to `extended`, so that it runs on other processors "
            "too); false: the ONNX as it came"
        ),
    ] = True
    parity: ParityCheck = Parity()

    def __post_init__(self) -> None:
        if self.tf32 and self.provider != "cuda":
            raise ValueError(f"'tf32' is for 'provider: cuda', and this is {self.provider}")

    def needs(self) -> Needs:
        return _PROVIDERS.get(self.provider, Needs())

    run_needs = needs


class OrtFormatSettings(Params):
    """Publish ONNX Runtime's own format, for the CPU."""

    threads: Annotated[int, Meta(ge=1, le=1024, description="threads within one operator")] = 1
    optimization: Annotated[
        Literal["disabled", "basic", "extended", "all"],
        Meta(
            description="optimisation before the file is written, for there is none afterwards; `all` suits "
            "this processor only"
        ),
    ] = "extended"
    parity: ParityCheck = Parity()
