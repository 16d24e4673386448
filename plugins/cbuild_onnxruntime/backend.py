"""The backend's functions: compile an ONNX artifact, load what was compiled."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from cbuild_onnx.model import parity, soundness
from cbuild_onnx.model.profile import profiled
from cbuild_onnx.model.runner import one_line

from compressbuild.api import Context, Profiling, Runner, UserError

from .session import onnx_file, open_session
from .settings import OnnxRuntimeSettings

__all__ = ["SessionRunner", "compile", "load", "profile", "validate"]

_DTYPES = {
    "float": "float32",
    "float16": "float16",
    "double": "float64",
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def compile(ctx: Context, model: Path, settings: OnnxRuntimeSettings) -> dict[str, Any]:
    """Optimise the graph ahead of time and prove that a session with these settings takes the result.

    The saved graph is optimised up to ``extended``: the layouts that ``all`` adds hold for one processor only, and the
    session adds them again in milliseconds. A provider other than the CPU fuses operators itself, so its graph stops
    at ``basic``. Last, the result is compared with the source (docs/backends.md).
    """
    source, target = onnx_file(model), ctx.out / "model.onnx"
    soundness.check(source)
    level = settings.optimization
    if settings.save_optimized:
        level = "extended" if level == "all" else level
        if settings.provider != "cpu":
            level = "basic" if level != "disabled" else level
        on_cpu = msgspec.structs.replace(settings, provider="cpu", tf32=False)
        open_session(source, on_cpu, level=level, save=target)
        if not target.is_file():
            raise UserError("ONNX Runtime did not write the optimised model", hint="set save-optimized: false")
    else:
        for file in sorted(path for path in model.rglob("*") if path.is_file()):
            name = "model.onnx" if file == source else str(file.relative_to(model))
            (ctx.out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, ctx.out / name)
    described = SessionRunner(open_session(target, settings), settings).describe()
    own = parity.precision(source)
    precision = "fp16" if settings.tf32 and own == "fp32" else own  # TensorFloat-32 has the fraction of float16
    return {
        "nodes": _count_nodes(target),
        "saved_level": level if settings.save_optimized else None,
        **described,
        **parity.check(
            ctx,
            settings.parity,
            source,
            lambda: load(ctx, ctx.out, settings),
            name="ONNX Runtime",
            coarsest=precision,
        ),
    }


def load(ctx: Context, artifact: Path, settings: OnnxRuntimeSettings | None) -> Runner:
    """A Runner of a compiled artifact; without settings: one thread on the CPU."""
    settings = settings or OnnxRuntimeSettings()
    return SessionRunner(open_session(onnx_file(artifact), settings), settings)


def profile(ctx: Context, artifact: Path, params: Profiling) -> dict[str, Any]:
    """Under ONNX Runtime's own profiler, with the settings of the platform."""
    settings = ctx.settings("subject") or OnnxRuntimeSettings()
    session = open_session(onnx_file(artifact), settings, profile=ctx.scratch / "profile")
    runner = SessionRunner(session, settings)
    return profiled(runner, runner.end_profile, params)


def validate(directory: Path) -> None:
    """ValueError unless the artifact is an ONNX model with at least one node."""
    from google.protobuf.message import DecodeError

    try:
        count = _count_nodes(directory / "model.onnx")
    except DecodeError as error:
        raise ValueError("model.onnx is not an ONNX model, or it is cut off") from error
    if count == 0:
        raise ValueError("model.onnx has no nodes")


def _count_nodes(path: Path) -> int:
    import onnx

    return len(onnx.load(str(path), load_external_data=False).graph.node)


class SessionRunner:
    """A Runner (see compressbuild.api) on an ONNX Runtime session."""

    def __init__(self, session: onnxruntime.InferenceSession, settings: OnnxRuntimeSettings) -> None:
        self._session = session
        self._settings = settings
        self._outputs = [output.name for output in session.get_outputs()]
        self._inputs = {item.name: (_shape(item), _dtype(item)) for item in session.get_inputs()}

    @property
    def inputs(self) -> Mapping[str, tuple[tuple[int | str, ...], str]]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        try:
            values = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # noqa: BLE001 (ONNX Runtime's error classes have no base of their own)
            raise UserError(f"ONNX Runtime cannot run the model: {one_line(error)}") from None
        return dict(zip(self._outputs, (np.asarray(value) for value in values), strict=True))

    def end_profile(self) -> str:
        """The file in which the profiler of a session opened with ``profile`` wrote what it saw."""
        return str(self._session.end_profiling())

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": "onnxruntime",
            "version": onnxruntime.__version__,
            "provider": self._session.get_providers()[0],
            "threads": self._settings.threads,
            "optimization": self._settings.optimization,
        }


def _shape(item: Any) -> tuple[int | str, ...]:
    return tuple(
        size if isinstance(size, int) else (size or f"{item.name}.{axis}") for axis, size in enumerate(item.shape)
    )


def _dtype(item: Any) -> str:
    name = item.type.removeprefix("tensor(").removesuffix(")")
    if name not in _DTYPES:
        raise UserError(
            f"input '{item.name}' is of type {item.type}, which numpy cannot hold",
            hint="numbers and truth values can be fed",
        )
    return _DTYPES[name]
