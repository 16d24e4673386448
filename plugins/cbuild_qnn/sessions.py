"""Sessions of ONNX Runtime with the QNN provider. On x86-64, Qualcomm's library of the HTP emulates it.

https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime
import onnxruntime_qnn

from .settings import QnnSettings

__all__ = ["PROVIDER", "open_session"]

PROVIDER = "QNNExecutionProvider"


@cache
def _devices() -> tuple[Any, ...]:
    """What the provider runs on; its library can be registered once in a process."""
    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    return tuple(each for each in onnxruntime.get_ep_devices() if each.ep_name == PROVIDER)


def open_session(path: Path, settings: QnnSettings, entries: Mapping[str, str]) -> Any:
    """An ``InferenceSession`` of a model, or of its context. ``entries``: of the session's configuration. Raises ONNX
    Runtime's own errors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # fusions are the CPU's own
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    provider = {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "htp_arch": settings.htp_arch.removeprefix("v"),
        "soc_model": str(settings.soc_model),
        "htp_graph_finalization_optimization_mode": str(settings.optimization),
        "enable_htp_fp16_precision": str(int(settings.fp16)),
    }
    options.add_provider_for_devices(list(_devices()), provider)
    return onnxruntime.InferenceSession(str(path), sess_options=options)
