"""Techniques on ONNX models, the kind ``onnx``, and where a compressed one differs from its source."""

from compressbuild.api import Kind, Stack, Technique, hookimpl

from .advice.records import checks
from .convert.params import ConvertBf16, ConvertFp16
from .graph.params import ExtractSubgraph, OptimizeOnnx
from .layers import records as layers
from .quantize.params import QuantizeDynamic, QuantizeMixed, QuantizeStatic, QuantizeWeights

# onnxruntime starts a thread when it is imported, so no process may fork after it: the worker imports it itself.
_STACK = Stack(
    modules=("onnx", "onnxruntime", "numpy"),
    tools=("onnx", "onnxruntime", "numpy"),
    preload=("onnx", "numpy"),
    install="pip install 'compressbuild[onnx]'",
)


@hookimpl
def compressbuild_kinds():
    yield Kind(
        name="onnx",
        files=("*.onnx",),
        loading=(
            "import onnxruntime\n"
            'session = onnxruntime.InferenceSession(f"{directory}/*.onnx")\n'
            "outputs = session.run(None, inputs)  # inputs: name → array\n"
        ),
        summary="an ONNX model, with its external data beside it if it has any",
        validate="cbuild_onnx.model.files:validate",
        load="cbuild_onnx.model.runner:load",
        profile="cbuild_onnx.model.profile:profile",
        census="cbuild_onnx.model.census:census",
        suffixes=(".onnx",),
        stack=_STACK,
    )
    yield from layers.kinds()


@hookimpl
def compressbuild_checks():
    yield from checks()
    yield from layers.checks()


@hookimpl
def compressbuild_metrics():
    yield from layers.metrics()


@hookimpl
def compressbuild_techniques():
    common = {
        "consumes": ("onnx",),
        "produces": "onnx",
        "stack": _STACK,
    }
    yield Technique(
        name="quantize.dynamic",
        run="cbuild_onnx.quantize.dynamic:quantize",
        params=QuantizeDynamic,
        traits=("int8", "dynamic"),
        **common,
    )
    yield Technique(
        name="quantize.static",
        run="cbuild_onnx.quantize.static:quantize",
        params=QuantizeStatic,
        traits=("int8", "calibrates"),
        **common,
    )
    yield Technique(
        name="quantize.mixed",
        run="cbuild_onnx.quantize.mixed:quantize",
        params=QuantizeMixed,
        traits=("int8", "calibrates"),
        **common,
    )
    yield Technique(
        name="quantize.weights",
        run="cbuild_onnx.quantize.weights:quantize",
        params=QuantizeWeights,
        traits=("weights-only",),
        **common,
    )
    yield Technique(name="convert.bf16", run="cbuild_onnx.convert.bf16:convert", params=ConvertBf16, **common)
    yield Technique(name="convert.fp16", run="cbuild_onnx.convert.fp16:convert", params=ConvertFp16, **common)
    yield Technique(name="extract.subgraph", run="cbuild_onnx.graph.subgraph:extract", params=ExtractSubgraph, **common)
    slimming = {**common, "stack": _STACK.also(tools=("onnxslim",))}
    yield Technique(name="optimize.onnx", run="cbuild_onnx.graph.optimize:optimize", params=OptimizeOnnx, **slimming)
    yield from layers.techniques(_STACK)
