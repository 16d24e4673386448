"""The path from ONNX to a serialized engine that both TensorRT backends take.

Written against TensorRT 10.0 … 11.4 and TensorRT-RTX 1.x, whose Python modules hardly differ here:
networks are strongly typed in all of them (precision comes from the ONNX), by a creation flag up to version 10 and by
default from 11 on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compressbuild.api import Context, UserError

from . import artifact
from .flags import set_flags
from .library import Library
from .logs import Sink, attach
from .onnx_parser import onnx_file, parse
from .progress import monitor
from .ranges import TensorForm, form_of, ranges, set_profile
from .settings import EngineSettings

__all__ = ["build"]


def build(
    library: Library,
    ctx: Context,
    model: Path,
    settings: EngineSettings,
    configure: Callable[[Any], None],
    **described: Any,
) -> tuple[dict[str, Any], Any]:
    """Write ``model.engine`` and ``engine.json`` into ``ctx.out``; returns the description and the builder's config.

    ``configure``: sets on the config what only one of the backends has. ``described``: what engine.json says beyond
    names, shapes and types. UserError: TensorRT does not take the model or the settings.
    """
    trt = library.trt
    logger, sink = attach(trt, ctx.log)
    builder = _builder(library, logger, sink)
    builder.max_threads = ctx.threads
    network = builder.create_network(_creation_flags(trt))
    parser = parse(trt, library.title, network, logger, sink, onnx_file(model))
    inputs = [_form(network.get_input(index)) for index in range(network.num_inputs)]
    outputs = [_form(network.get_output(index)) for index in range(network.num_outputs)]
    shapes = ranges(inputs, settings.profiles)

    config = builder.create_builder_config()
    config.progress_monitor = monitor(trt, ctx)
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    set_flags(trt, config, settings.flags)
    configure(config)
    set_profile(builder, config, inputs, shapes)
    if sink.errors:  # TensorRT logs a setting that it refuses and goes on without it
        raise UserError(f"{library.title} refused a setting: {sink.reason()}")

    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise _failure(library, sink, settings)
    ctx.progress(100, 100, phase="Building engine")
    data = memoryview(engine)
    (ctx.out / "model.engine").write_bytes(data)
    found = artifact.describe(
        inputs,
        outputs,
        shapes,
        artifact.types_of(network),
        library=library.name,
        version=library.version,
        bytes=data.nbytes,
        **described,
    )
    artifact.write(found, ctx.out)
    del parser  # until here: the network points into its weights
    return found, config


def _builder(library: Library, logger: Any, sink: Sink) -> Any:
    try:
        return library.trt.Builder(logger)
    except TypeError:  # the bindings' word for "the library returned no builder"
        hint = "it needs an NVIDIA GPU, and a driver for this version"
        raise UserError(f"{library.title} {library.version} cannot start: {sink.reason()}", hint=hint) from None


def _creation_flags(trt: Any) -> int:
    strongly_typed = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    return 0 if strongly_typed is None else 1 << int(strongly_typed)


def _form(tensor: Any) -> TensorForm:
    return form_of(tensor, artifact.NUMPY_TYPES.get(tensor.dtype.name, tensor.dtype.name.lower()))


def _failure(library: Library, sink: Sink, settings: EngineSettings) -> UserError:
    text, hint = sink.reason(), None
    if "for Turing (SM75)" in text:
        hint = "Turing builds from float16 models: add the step convert.fp16, or leave sm75 out"
    elif "shape input tensor" in text:
        hint = "this input is a shape: give its values, profiles: {name: [[1, 8], [8, 8], [64, 8]]}"
    elif settings.flags:
        hint = f"the platform's builder flags may be the cause: {', '.join(settings.flags)}"
    return UserError(f"{library.title} cannot build the engine: {text}", hint=hint)
