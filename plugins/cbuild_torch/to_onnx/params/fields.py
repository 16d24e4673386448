"""Parameters that both exports have."""

from __future__ import annotations

from typing import Annotated

from compressbuild.api import Meta, Positive

__all__ = ["Opset", "TracedSizes"]

Opset = Annotated[int, Meta(ge=18, description="ONNX operator set of the exported model")]
TracedSizes = Annotated[dict[str, Positive], Meta(description="axis name → size used for tracing")]
