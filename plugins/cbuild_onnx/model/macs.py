"""MACs of an ONNX model: from the shapes that ONNX Runtime's profile of one run, with optimisations off, reports.

Shape inference is not used: where it cannot follow it reports nothing, and the sum would be too small.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from cbuild_kit import Example, fitting

from compressbuild.api import UserError

from .runner import declared_inputs

__all__ = ["COUNTERS", "contraction", "contractions", "shapes"]

Shape = Sequence[int]
Counter = Callable[[Sequence[Shape], Sequence[Shape]], int]


def _convolution(weight: int) -> Counter:
    """Every output element sums over one filter: weight shape M × C/groups × kernel."""
    return lambda inputs, outputs: math.prod(outputs[0]) * math.prod(inputs[weight][1:])


def _transposed(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Every input element goes through one filter: weight shape C × M/groups × kernel."""
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0]) * inputs[0][-1]


def _gemm(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """A may be transposed, so the summed length is its size over the rows of the output."""
    return math.prod(outputs[0]) * (math.prod(inputs[0]) // max(outputs[0][0], 1))


def _recurrent(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Each step of each sample multiplies by all weights: X of T × N × I, W and R with every gate and direction."""
    steps = inputs[0][0] * inputs[0][1]
    return steps * (math.prod(inputs[1]) + math.prod(inputs[2]))


def _attention(inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Q·Kᵀ and its product with V, for N × heads × S × D and N × S × (heads·D) alike; past keys lengthen the rows."""
    keys = inputs[1][-2] + (inputs[4][-2] if len(inputs) > 5 else 0)
    return keys * (math.prod(inputs[0]) + math.prod(outputs[0]))


COUNTERS: Mapping[str, Counter] = {
    **dict.fromkeys(("Conv", "ConvInteger", "FusedConv", "DeformConv"), _convolution(1)),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    **dict.fromkeys(
        ("MatMul", "MatMulInteger", "QLinearMatMul", "MatMulNBits", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
        _product,
    ),
    **dict.fromkeys(("Gemm", "QGemm", "FusedGemm"), _gemm),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
    "Attention": _attention,
}
# Operators that contract too, but whose cost is not to be read off their shapes.
UNKNOWN = frozenset(
    {
        "FusedMatMul",
        "GemmFastGelu",
        "GroupQueryAttention",
        "MultiHeadAttention",
        "PackedAttention",
        "QAttention",
        "QMoE",
        "MoE",
        "SparseAttention",
        "DFT",
        "STFT",
    }
)


def contractions(path: Path, events: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, int | None]]:
    """(operator, name of its node, MACs or None where they are unknown) of all that ran and contracts."""
    nodes = {(node.op_type, node.name): node for node in onnx.load(str(path), load_external_data=False).graph.node}
    for event in events:
        arguments = event["args"]
        operator, name = arguments["op_name"], event["name"].removesuffix("_kernel_time")
        inputs, outputs = _shapes(arguments["input_type_shape"]), _shapes(arguments["output_type_shape"])
        node = nodes.get((operator, name))
        if operator == "Einsum":
            yield operator, name, None if node is None else contraction(_equation(node), inputs)
        elif operator in UNKNOWN or (operator == "Attention" and (node is None or node.domain)):
            yield operator, name, None
        elif operator in COUNTERS:
            yield operator, name, COUNTERS[operator](inputs, outputs)


def contraction(equation: str, shapes: Sequence[Shape]) -> int:
    """MACs of an Einsum of two operands or more: the product of the sizes of all its indices."""
    terms = re.sub(r"\s", "", equation).split("->")[0].split(",")
    sizes: dict[str, int] = {}
    dots = 1
    for term, shape in zip(terms, shapes, strict=True):
        before, _, after = term.partition("...")
        head, tail = len(before), len(shape) - len(after)
        if "..." in term:
            dots = max(dots, math.prod(shape[head:tail]))
        for index, size in zip(
            (*before, *after), (*shape[:head], *shape[tail:]) if "..." in term else shape, strict=True
        ):
            sizes[index] = max(size, sizes.get(index, 1))
    return 0 if len(terms) < 2 else math.prod(sizes.values()) * dots


def _equation(node: Any) -> str:
    equation: bytes = next(a.s for a in node.attribute if a.name == "equation")
    return equation.decode()


def _shapes(entries: Sequence[Mapping[str, list[int]]]) -> list[list[int]]:
    return [shape for entry in entries for shape in entry.values()]


def shapes(path: Path, scratch: Path, axes: Mapping[str, int], batch: int = 1) -> tuple[list[dict[str, Any]], Example]:
    """One event for each operator that ran, with the shapes of what it read and made, and what it ran on."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Weights that a kernel has packed for itself are missing from the shapes of its inputs.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    sessions: list[Any] = []
    ran = False

    def opened() -> Any:
        sessions[:] = [onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])]
        return sessions[0]

    def run(feeds: Mapping[str, Any]) -> None:
        """Once a session: the events of a run that failed count for nothing."""
        nonlocal ran
        session = opened() if ran else sessions[0]
        ran = True
        session.run(None, dict(feeds))

    try:
        sample = fitting(declared_inputs(opened()), axes, run, batch=batch)
        if not ran:
            run(sample.feeds)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (ONNX Runtime's error classes have no base of their own)
        text = re.sub(r"\s+", " ", str(error))
        raise UserError(
            f"macs are counted in a run of the model, which failed: {text}",
            hint="'axes' gives the sizes of dynamic axes: macs: {axes: {seq: 48}}",
        ) from None
    events = json.loads(Path(sessions[0].end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and "output_type_shape" in event["args"]], sample
