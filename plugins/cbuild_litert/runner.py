"""Runs a model through LiteRT's interpreter, on this machine's processor."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from cbuild_kit.interface import Interface

from compressbuild.api import Context, ModelInput, Runner, UserError

from .artifact import read_interface, tflite_file
from .settings import LiteRtSettings

__all__ = ["TfliteRunner", "load", "load_reference", "one_line", "stored"]

_INT32 = np.iinfo(np.int32)


def load(ctx: Context, artifact: Path, settings: LiteRtSettings | None) -> Runner:
    """A Runner with a platform's settings; without any: one thread, on XNNPACK."""
    settings = settings or LiteRtSettings()
    return TfliteRunner(artifact, threads=settings.threads, xnnpack=settings.xnnpack)


def load_reference(ctx: Context, artifact: Path, settings: None = None) -> Runner:
    """A Runner on LiteRT's own kernels, which are written apart from those of XNNPACK."""
    return TfliteRunner(artifact, threads=ctx.threads, xnnpack=False)


class TfliteRunner:
    """A Runner (see compressbuild.api) on a LiteRT model.

    The model's own types may differ from those of its interface: 64-bit integers became 32-bit ones when it was
    exported, and floats are 8-bit integers in a model with ``io: int8``. Values are converted on the way.
    """

    def __init__(self, artifact: Path, *, threads: int = 1, xnnpack: bool = True) -> None:
        kernels = OpResolverType.BUILTIN if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._threads, self._xnnpack = threads, xnnpack
        try:
            self._interpreter = Interpreter(
                model_path=str(tflite_file(artifact)), num_threads=threads, experimental_op_resolver_type=kernels
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"LiteRT {version('ai-edge-litert')} cannot load the model: {one_line(error)}",
                hint="it may need operators of TensorFlow, or of a newer LiteRT",
            ) from error
        inputs, outputs = _described(self._interpreter)
        found = read_interface(artifact)
        self._interface = found or Interface(_declared(inputs), tuple(outputs), {})
        lacking = {item.name for item in self._interface.inputs} ^ set(inputs)
        lacking |= set(self._interface.outputs) ^ set(outputs)
        if lacking:
            raise UserError(f"interface.json and the model do not agree about '{min(lacking)}'")
        self._inputs = {item.name: inputs[item.name] for item in self._interface.inputs}
        self._outputs = {name: outputs[name] for name in self._interface.outputs}
        self._shapes = {name: tuple(map(int, each["shape"])) for name, each in self._inputs.items()}

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._interface.inputs

    @property
    def details(self) -> Mapping[str, Mapping[str, Any]]:
        """Input name → the tensor, as the interpreter describes it."""
        return self._inputs

    @property
    def signature(self) -> str | None:
        """Name of the model's only signature, if it has one."""
        return next(iter(self._interpreter.get_signature_list()), None)

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        arrays = self._interface.checked(feeds, "the LiteRT model")
        self.resize({name: array.shape for name, array in arrays.items()})
        try:
            for name, array in arrays.items():
                self._interpreter.set_tensor(self._inputs[name]["index"], stored(name, array, self._inputs[name]))
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot run the model: {one_line(error)}") from error
        return {name: _plain(self._interpreter.get_tensor(each["index"]), each) for name, each in self._outputs.items()}

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """A model that came with shapes that vary has its memory planned again for other ones."""
        if shapes == self._shapes:
            return
        try:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._inputs[name]["index"], list(shape), strict=True)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot run the model on these shapes: {one_line(error)}") from error
        self._shapes = dict(shapes)

    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Tensor of the graph → its shape now."""
        return {int(each["index"]): tuple(map(int, each["shape"])) for each in self._interpreter.get_tensor_details()}

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": "litert",
            "version": version("ai-edge-litert"),
            "kernels": "XNNPACK" if self._xnnpack else "LiteRT's own",
            "threads": self._threads,
        }


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _described(interpreter: Interpreter) -> tuple[dict[str, Any], dict[str, Any]]:
    """Name → details of inputs and of outputs: by the names of the only signature, else by those of the tensors."""
    signatures = interpreter.get_signature_list()
    if len(signatures) > 1:
        raise UserError(
            f"the LiteRT model has {len(signatures)} signatures ({', '.join(sorted(signatures))}), one can be run",
            hint="export the one that you need as a model of its own",
        )
    if signatures:
        runner = interpreter.get_signature_runner()
        return runner.get_input_details(), runner.get_output_details()
    return (
        {each["name"]: each for each in interpreter.get_input_details()},
        {each["name"]: each for each in interpreter.get_output_details()},
    )


def _declared(inputs: Mapping[str, Any]) -> tuple[ModelInput, ...]:
    """Inputs as a model says them. One that is quantized takes floats."""
    found = []
    for name, each in inputs.items():
        signature = each["shape_signature"] if len(each["shape_signature"]) else each["shape"]
        shape = tuple(f"{name}.{at}" if size < 0 else int(size) for at, size in enumerate(signature))
        dtype = "float32" if _scale(each) is not None else np.dtype(each["dtype"]).name
        found.append(ModelInput(name, shape, dtype))
    return tuple(found)


def _scale(tensor: Mapping[str, Any]) -> tuple[float, int] | None:
    """Scale and zero point of a tensor of 8- or 16-bit integers that stand for floats."""
    scale, zero = tensor["quantization"]
    return (scale, zero) if scale and np.dtype(tensor["dtype"]).kind in "iu" else None


def stored(name: str, array: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """An input as the model's own type."""
    dtype = np.dtype(tensor["dtype"])
    scaled = _scale(tensor)
    if scaled is not None and array.dtype.kind == "f":
        limits = np.iinfo(dtype)
        steps = np.nan_to_num(np.round(array / np.float32(scaled[0])) + scaled[1], nan=scaled[1])
        return np.clip(steps, limits.min, limits.max).astype(dtype)
    if array.dtype == dtype:
        return array
    if dtype == np.int32 and array.size and not (_INT32.min <= array.min() and array.max() <= _INT32.max):
        raise UserError(f"input '{name}' has values beyond 32 bits, and the LiteRT model computes in 32-bit integers")
    return array.astype(dtype)


def _plain(array: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    """An output as floats, if its integers stand for such."""
    scaled = _scale(tensor)
    if scaled is None:
        return array
    return (array.astype(np.float32) - np.float32(scaled[1])) * np.float32(scaled[0])
