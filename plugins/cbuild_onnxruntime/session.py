"""ONNX Runtime sessions: one execution provider, no silent fallback, errors in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
from cbuild_onnx.model import soundness
from cbuild_onnx.model.runner import one_line

from compressbuild.api import UserError

from .older import since
from .settings import OnnxRuntimeSettings

__all__ = ["LEVELS", "open_session"]

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "directml": "onnxruntime-directml",
    "coreml": "onnxruntime (macOS)",
    "openvino": "onnxruntime-openvino",
}
LEVELS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def _hint(text: str, model: Path) -> str:
    if "No Op registered for" in text:
        return "the operator is not in this opset, or is newer than this ONNX Runtime; export with another opset"
    if "is not a registered function/op" in text:
        return "the operator is of another runtime's own domain"
    if "Protobuf parsing failed" in text:
        return "the file is not an ONNX model, or it is cut off"
    if "same node name" in text:
        return "node names must be unique or empty: rename one in the program that wrote the file"
    if change := _change(text):
        return f"upgrade onnxruntime, or have it written for this one: 'runtime: {change['runtime']}' on the platform"
    if "explicitly disabled" in text or "fallback" in text.lower():
        return "set 'cpu-fallback: true' on the platform to run those operators on the CPU"
    return soundness.complaint(model)


def _change(text: str) -> dict[str, str]:
    """For a file in a newer form than this version reads: the setting that has it written in an older one."""
    newer = "Unsupported model IR version" in text or "under development" in text
    return {"runtime": since(int(onnxruntime.__version__.split(".")[1]))} if newer else {}


def open_session(
    model: Path,
    settings: OnnxRuntimeSettings,
    *,
    level: str | None = None,
    save: Path | None = None,
    profile: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A session on exactly the provider of ``settings``.

    ``level``: another optimisation level; ``save``: where the optimised graph goes; ``profile``: how the names of its
    profiler's files begin. UserError: the provider is not
    there, the model does not load, or ONNX Runtime put the session on another provider.
    """
    provider = PROVIDERS[settings.provider]
    available = onnxruntime.get_available_providers()
    if provider not in available:
        names = ", ".join(short for short, name in PROVIDERS.items() if name in available)
        raise UserError(
            f"this ONNX Runtime ({onnxruntime.__version__}) has no {provider}; it has: {names}",
            hint=f"install {_PACKAGES.get(settings.provider, 'onnxruntime')} instead of onnxruntime",
        )
    options = _options(settings, level, save, model)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    own = {"use_tf32": str(int(settings.tf32))} if settings.provider == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=[(provider, own)], enable_fallback=0)
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's error classes have no base of their own)
        text = one_line(error)
        raise UserError(
            f"ONNX Runtime cannot load the model: {text}", hint=_hint(text, model), change=_change(text)
        ) from None
    used = session.get_providers()
    if not used or used[0] != provider:
        raise UserError(
            f"asked for {provider}, but ONNX Runtime runs this model on {', '.join(used) or 'nothing'}",
            hint="the node's log says why the provider did not start",
        )
    return session


def _options(
    settings: OnnxRuntimeSettings, level: str | None, save: Path | None, model: Path
) -> onnxruntime.SessionOptions:
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[level or settings.optimization]
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    # Threads that spin between runs would take the core that the measured baseline runs on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if settings.threads == 1 else "1")
    if settings.provider != "cpu" and not settings.cpu_fallback:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if save is not None:
        options.optimized_model_filepath = str(save)
        if save.suffix == ".onnx" and any(entry.name != model.name for entry in model.parent.iterdir()):
            # Weights that came in a file of their own leave in one: a protobuf ends at 2 GiB.
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", save.name + ".data"
            )
            options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    return options
