"""Runs an IR on an OpenVINO device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_onnx.model.memory import return_freed

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import fed, one_line, read
from .runtime import openvino
from .settings import OpenVinoSettings
from .weights import Weights

__all__ = ["OpenVinoRunner", "ThriftyRunner", "load", "opened"]

_HINTS = {"latency": "LATENCY", "throughput": "THROUGHPUT"}
_VIRTUAL = ("AUTO", "MULTI", "HETERO", "BATCH")


def load(ctx: Context, artifact: Path, settings: OpenVinoSettings | None) -> Runner:
    """A Runner of an IR; without settings: one thread on the CPU, in float32."""
    return OpenVinoRunner(read(artifact), settings or OpenVinoSettings())


def opened(artifact: Path, settings: OpenVinoSettings) -> Runner:
    """As :func:`load`, but with less memory for large weights."""
    if Weights.worthwhile(artifact):
        return ThriftyRunner(Weights(artifact), settings)
    return OpenVinoRunner(read(artifact), settings)


class OpenVinoRunner:
    """A Runner (see compressbuild.api) on a compiled OpenVINO model."""

    def __init__(self, model: Any, settings: OpenVinoSettings, *, count: bool = False) -> None:
        self._interface = fed(model)
        self._compiled = _compile(model, settings, count=count)
        self._settings = settings
        self._request = self._compiled.create_infer_request()

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._interface.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        arrays = self._interface.checked(feeds, "the OpenVINO model")
        try:
            # In C order, for OpenVINO reads the bytes; ascontiguousarray would give a scalar an axis.
            values = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            # Results are copied: the next run writes over OpenVINO's own.
            results = self._request.infer(values, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise UserError(f"OpenVINO cannot run the model: {one_line(error)}") from None
        return dict(zip(self._interface.outputs, results.values(), strict=True))

    def counters(self) -> dict[tuple[str, str], float]:
        """(name, type and kernel) → mean µs of each operator over all runs so far."""
        ran = openvino.ProfilingInfo.Status.EXECUTED
        return {
            (info.node_name, f"{info.node_type} ({info.exec_type})"): 1e6 * info.real_time.total_seconds()
            for info in self._request.profiling_info
            if info.status == ran
        }

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": "openvino",
            "version": openvino.__version__.partition("-")[0],
            "device": ",".join(self._compiled.get_property("EXECUTION_DEVICES")),
            "precision": self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "threads": self._settings.threads,
            "performance_hint": self._settings.performance_hint,
        }


class ThriftyRunner:
    """A Runner for a few runs, with the weights in memory once, as OpenVINO copied them.

    OpenVINO copies them again for a batch of another size, where another layout suits it, and keeps both. So the model
    is loaded again for other shapes, which takes seconds for each gigabyte.
    """

    def __init__(self, weights: Weights, settings: OpenVinoSettings) -> None:
        self._weights, self._settings = weights, settings
        self._shapes: dict[str, tuple[int, ...]] | None = None
        self._runner = self._open()

    def _open(self) -> OpenVinoRunner:
        return_freed()
        with self._weights.given_back():
            return OpenVinoRunner(self._weights.model(), self._settings)

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._runner.inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        shapes = {name: np.shape(value) for name, value in feeds.items()}
        if self._shapes is not None and shapes != self._shapes:
            del self._runner
            self._runner = self._open()
        self._shapes = shapes
        with self._weights.given_back():
            return self._runner(feeds)

    def describe(self) -> dict[str, Any]:
        return self._runner.describe()


def _compile(model: Any, settings: OpenVinoSettings, *, count: bool = False) -> Any:
    """Load a model on exactly the device and in the precision of ``settings``, or UserError. ``count``: with its
    performance counters."""
    core = openvino.Core()
    family = settings.device.partition(":")[0].partition(".")[0]
    available = core.available_devices
    if family not in _VIRTUAL and not any(
        name == settings.device or name.startswith(f"{family}.") or name == family for name in available
    ):
        raise UserError(
            f"OpenVINO has no device '{settings.device}' here; it has: {', '.join(available) or 'none'}",
            hint="install the device's driver, or build where the device is",
        )
    options: dict[str, Any] = {"PERFORMANCE_HINT": _HINTS[settings.performance_hint]}
    if family == "CPU":
        options["INFERENCE_NUM_THREADS"] = settings.threads
        # A pinned thread meets whatever else runs on its core: a measured baseline, another worker.
        options["ENABLE_CPU_PINNING"] = False
    if count:
        options["PERF_COUNT"] = True
    if settings.inference_precision != "device":
        options["INFERENCE_PRECISION_HINT"] = settings.inference_precision
    try:
        compiled = core.compile_model(model, settings.device, options)
    except Exception as error:  # RuntimeError for what it refuses; plugins raise others
        text = one_line(error)[:600]
        raise UserError(f"OpenVINO cannot load the model on {settings.device}: {text}", hint=_hint(text)) from error
    used = compiled.get_property("EXECUTION_DEVICES")
    if family not in _VIRTUAL and any(not name.startswith(family) for name in used):
        raise UserError(f"asked for {settings.device}, but OpenVINO runs this model on {', '.join(used)}")
    got = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if settings.inference_precision not in ("device", got):
        raise UserError(
            f"asked for {settings.inference_precision}, but OpenVINO computes this model in {got} on {', '.join(used)}",
            hint="this processor lacks that arithmetic: choose another 'inference-precision:'",
        )
    return compiled


def _hint(text: str) -> str:
    if "dynamic rank" in text:
        return "declare the shape of every input; an axis may have a name instead of a size"
    return "try another 'device:', another 'inference-precision:' or another backend"
