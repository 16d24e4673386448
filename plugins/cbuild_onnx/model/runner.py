"""The reference runtime of ONNX models: ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from compressbuild.api import Context, ModelInput, UserError

from . import soundness
from .files import find

__all__ = ["OnnxRunner", "by_onnxruntime", "declared_inputs", "load", "one_line", "session"]

_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


def session(
    path: Path, *, threads: int, optimise: bool = True, integers: bool = True, profile: Path | None = None
) -> ort.InferenceSession:
    """A session on the CPU. ``integers``: whether it may fuse QDQ nodes to kernels of integers. ``profile``: how the
    names of its profiler's files begin. UserError if the model cannot be loaded."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    if not integers:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    with by_onnxruntime(f"load '{path.name}'", path):
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def by_onnxruntime(what: str, path: Path | None = None) -> Iterator[None]:
    """ONNX Runtime at work: what it raises becomes one line, with what is wrong with the file at ``path``, if anything.
    ``what``: cannot be done, for the message."""
    try:
        yield
    except Exception as error:  # onnxruntime's errors derive from Exception alone
        hint = soundness.complaint(path) if path else _running(str(error))
        raise UserError(f"ONNX Runtime cannot {what}: {one_line(error)}", hint=hint) from error


def _running(said: str) -> str:
    """What may be the cause if a model that could be loaded cannot be run."""
    if "out of data bounds" in said:
        return (
            "a number in its inputs is no row of the table that it is looked up in: a token outside of the vocabulary "
            "(another model's tokenizer?), or a text with more tokens than the model has positions (cut it off with "
            "the dataset's 'length:')"
        )
    return "check the declared shapes and types of its inputs"


def one_line(error: Exception) -> str:
    """What ONNX Runtime says, without its codes, its C++ signatures, the places of files and line breaks."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"Load model from \S+ failed: ?", "", text)
    text = text.replace("This is an invalid model. ", "").replace("Fatal error: ", "")
    # the place in its own source: file.cc:123 void onnxruntime::Graph::Function(const Type&)
    text = re.sub(r"(/\S*/)?\S+\.(cc|h):\d+ ([\w:*&<> ]*\bonnxruntime::[\w:~<>]+\([^()]*\) )?", "", text)
    text = re.sub(r"/\S*/([^/\s]+)", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


class OnnxRunner:
    """Runs a model: arrays in, arrays out."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimise: bool = True,
        integers: bool = True,
        profile: Path | None = None,
    ) -> None:
        self._session = session(path, threads=threads, optimise=optimise, integers=integers, profile=profile)
        self._threads = threads
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = declared_inputs(self._session)

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        # Not ascontiguousarray, which gives a scalar an axis.
        arrays = {item.name: np.asarray(feeds[item.name], order="C") for item in self._inputs}
        with by_onnxruntime("run the model"):
            values = self._session.run(None, arrays)
        return dict(zip(self._outputs, values, strict=True))

    def end_profile(self) -> str:
        """The file of events that the profiler of a session with ``profile`` wrote."""
        return str(self._session.end_profiling())

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": self._session.get_providers()[0],
            "threads": self._threads,
        }


def declared_inputs(made: ort.InferenceSession) -> tuple[ModelInput, ...]:
    """A session's inputs; an axis without a name gets one of its own."""
    found = []
    for item in made.get_inputs():
        shape = tuple(
            axis if isinstance(axis, int) else (axis or f"{item.name}_{position}")
            for position, axis in enumerate(item.shape or ())
        )
        if item.type not in _TYPES:
            raise UserError(
                f"input '{item.name}' has the type {item.type}, which numpy does not know",
                hint="inputs can be numbers or booleans",
            )
        found.append(ModelInput(item.name, shape, _TYPES[item.type]))
    return tuple(found)


def load(ctx: Context, directory: Path, settings: None = None) -> OnnxRunner:
    """Runner of an ``onnx`` artifact."""
    return OnnxRunner(find(directory), threads=ctx.threads)
