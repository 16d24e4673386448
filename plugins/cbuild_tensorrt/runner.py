"""Runs a serialized engine on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cbuild_kit.interface import check_feeds

from compressbuild.api import Context, ModelInput, UserError

from . import artifact
from .cuda import Cuda
from .library import Library
from .logs import attach

__all__ = ["EngineRunner"]


class EngineRunner:
    """A Runner (see compressbuild.api): copies the inputs to the GPU, runs, copies the outputs back.

    ``engine``: an ``ICudaEngine``. ``described``: the content of engine.json.
    """

    def __init__(self, library: Library, engine: Any, described: Mapping[str, Any], cuda: Cuda, logger: Any) -> None:
        self.library = library
        self._engine, self._described, self._cuda, self._logger = engine, described, cuda, logger
        self._context = engine.create_execution_context()
        if self._context is None:
            raise UserError(f"{library.title} cannot start the engine: {logger.sink.reason()}")
        self._inputs = tuple(ModelInput(row["name"], tuple(row["shape"]), row["dtype"]) for row in described["inputs"])
        self._outputs = {row["name"]: _numpy(row) for row in described["outputs"]}
        self._buffers: dict[str, tuple[int, int]] = {}  # tensor → device address, size in bytes

    @classmethod
    def open(cls, library: Library, ctx: Context, directory: Path) -> EngineRunner:
        """Deserialize. UserError: no GPU, or an engine for another GPU or another version of the library."""
        cuda = Cuda()
        described = artifact.read(directory)
        logger, sink = attach(library.trt, ctx.log)
        runtime = library.trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine((directory / "model.engine").read_bytes())
        if engine is None:
            built = (
                f"built with {described['version']} for {described.get('compute_capabilities') or described.get('gpu')}"
            )
            raise UserError(f"{library.title} {library.version} cannot load the engine: {sink.reason()}", hint=built)
        return cls(library, engine, described, cuda, logger)

    @property
    def inputs(self) -> tuple[ModelInput, ...]:
        return self._inputs

    def __call__(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        context, cuda = self._context, self._cuda
        held = []  # keeps the host copies alive until the stream has read them
        for name, given in check_feeds(self._inputs, feeds, "the engine").items():
            array = np.ascontiguousarray(given)
            if not context.set_input_shape(name, array.shape):
                raise self._failure(f"does not take '{name}' of shape {list(array.shape)}")
            address = self._buffer(name, array.nbytes)
            cuda.copy_in(address, array)
            context.set_tensor_address(name, address)
            held.append(array)
        found = {}
        for name, dtype in self._outputs.items():
            shape = tuple(context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise UserError(f"the shape of output '{name}' depends on the data, which this runner does not support")
            found[name] = np.empty(shape, dtype)
            context.set_tensor_address(name, self._buffer(name, found[name].nbytes))
        if not context.execute_async_v3(cuda.stream):
            raise self._failure("failed to run")
        for name, array in found.items():
            cuda.copy_out(array, self._buffers[name][0])
        cuda.synchronize()
        return found

    def observe(self, profiler: Any) -> None:
        """Report the time of each layer to an ``IProfiler``, at each run."""
        context = self._context
        context.profiler = self._profiler = profiler  # kept here, for TensorRT does not own it

    def describe(self) -> dict[str, Any]:
        return {
            "runtime": self.library.name,
            "version": self.library.version,
            "provider": self._cuda.device_name,
            "precision": self._described["precision"],
            "includes": "copies between host and GPU",
        }

    def close(self) -> None:
        """Free the device buffers."""
        for address, _ in self._buffers.values():
            self._cuda.free(address)
        self._buffers.clear()

    def _buffer(self, name: str, size: int) -> int:
        address, capacity = self._buffers.get(name, (0, -1))
        if capacity < size:
            if address:
                self._cuda.free(address)
            address = self._cuda.allocate(size)
            self._buffers[name] = address, size
        return address

    def _failure(self, what: str) -> UserError:
        return UserError(f"the engine {what}: {self._logger.sink.reason()}")


def _numpy(row: Mapping[str, Any]) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(row["dtype"])
    except TypeError:
        hint = "end the model in a cast to float32"
        raise UserError(f"output '{row['name']}' is {row['dtype']}, which numpy cannot hold", hint=hint) from None
    return dtype
