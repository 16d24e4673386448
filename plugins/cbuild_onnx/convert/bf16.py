"""Conversion to bfloat16: float32's range with 8 bits of precision. For hardware that computes in it (TensorRT).

ONNX Runtime has no bfloat16 arithmetic on CPUs, so the result is checked by imitation: the same graph in float32, with
every value that would be bfloat16 rounded to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compressbuild.api import Context, UserError

from ..model import files, soundness
from ..model.normal import with_constant_weights
from ..model.runner import OnnxRunner
from ..model.selection import node_names
from ..model.trials import compare_all, trials
from .params import ConvertBf16

__all__ = ["convert"]

_TYPE = "tensor(bfloat16)"


def convert(ctx: Context, model: Path, params: ConvertBf16) -> dict[str, Any]:
    """Convert and compare with the source; returns how many nodes compute in bfloat16 and the largest difference."""
    source = with_constant_weights(ctx, soundness.find(model))
    proto = files.read(source)
    _check(proto, params)
    blocked = set(node_names(proto, params.block_nodes, "block-nodes"))
    conversion = _Conversion(proto, blocked, set(params.block_ops))
    converted = conversion.result()
    if not conversion.nodes:
        raise UserError(
            "no operator of this model can take bfloat16 inputs",
            hint="convolutions can since opset 22 (export with 'opset: 22'); or 'block-ops:' names everything",
        )
    target = files.write(converted, ctx.out)
    worst = _compare(ctx, source, conversion.imitation(files.read(target)), params)
    size = sum(path.stat().st_size for path in ctx.out.iterdir())
    return {"nodes": conversion.nodes, "max_difference": worst, "bytes": size}


def _check(proto: ModelProto, params: ConvertBf16) -> None:
    operators = {node.op_type for node in files.nodes(proto)}
    if operators & {"QuantizeLinear", "DequantizeLinear"}:
        raise UserError("the model is quantized; its scales must stay float32", hint="convert its float source")
    if operators & {"If", "Loop", "Scan"}:
        raise UserError("convert.bf16 does not convert models with If, Loop or Scan", hint="use convert.fp16")
    unknown = [name for name in params.block_ops if name not in operators]
    if unknown:
        raise UserError(f"'block-ops: {unknown[0]}' matches no node", hint=f"there are {', '.join(sorted(operators))}")


class _Conversion:
    """Goes through a graph once; each float value gets a bfloat16 or a float32 form, and the other where it is read."""

    def __init__(self, proto: ModelProto, blocked: set[str], blocked_ops: set[str]) -> None:
        self._proto = proto
        self._opsets = {entry.domain or "": entry.version for entry in proto.opset_import}
        self._tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._floats = _float_values(proto)
        self._low: set[str] = set()  # names of values that are bfloat16
        self._forms: dict[tuple[str, bool], str] = {}
        self._constants: dict[str, TensorProto] = {}
        self._made: list[NodeProto] = []
        self.nodes = 0
        for node in proto.graph.node:
            self._convert(node, node.name in blocked or node.op_type in blocked_ops)
        for value in proto.graph.output:
            if value.name in self._low:
                self._restore(value.name)

    def _convert(self, node: NodeProto, blocked: bool) -> None:
        made = NodeProto.FromString(node.SerializeToString())
        takes, gives = (None, None) if blocked else self._signature(node)
        if takes is None or gives is None:
            takes, gives = [False] * len(node.input), [False] * len(node.output)
        made.input[:] = [
            self._form(name, low) if name in self._floats else name for name, low in zip(node.input, takes, strict=True)
        ]
        self._made.append(made)
        low = {name for name, is_low in zip(node.output, gives, strict=True) if is_low and name in self._floats}
        self._low |= low
        self.nodes += bool(low)
        if node.op_type == "Cast" and low:
            next(attribute for attribute in made.attribute if attribute.name == "to").i = TensorProto.BFLOAT16

    def _signature(self, node: NodeProto) -> tuple[list[bool], list[bool]] | tuple[None, None]:
        """Of each input and output, whether its type may be bfloat16; nothing unless a float output may."""
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return None, None
        allowed = {each.type_param_str for each in schema.type_constraints if _TYPE in each.allowed_type_strs}
        takes = _allowed(schema.inputs, len(node.input), allowed)
        gives = _allowed(schema.outputs, len(node.output), allowed)
        reads = any(name in self._floats and low for name, low in zip(node.input, takes, strict=True))
        makes = any(name in self._floats and low for name, low in zip(node.output, gives, strict=True))
        return (takes, gives) if (reads or node.op_type == "Cast") and makes else (None, None)

    def _form(self, name: str, low: bool) -> str:
        """The name of a float value as bfloat16 or float32, made where it is first wanted."""
        if (name in self._low) == low:
            return name
        key = name, low
        if key not in self._forms:
            self._forms[key] = f"{name}/{'bfloat16' if low else 'float32'}"
            if name in self._tensors:
                values = numpy_helper.to_array(self._tensors[name]).astype(ml_dtypes.bfloat16)
                self._constants[self._forms[key]] = helper.make_tensor(
                    self._forms[key], TensorProto.BFLOAT16, values.shape, values.tobytes(), raw=True
                )
            else:
                kind = TensorProto.BFLOAT16 if low else TensorProto.FLOAT
                self._made.append(
                    helper.make_node("Cast", [name], [self._forms[key]], f"{self._forms[key]}/cast", to=kind)
                )
        return self._forms[key]

    def _restore(self, name: str) -> None:
        """A graph output keeps its name as float32."""
        inner = f"{name}/low"
        for node in self._made:
            node.input[:] = [inner if other == name else other for other in node.input]
            node.output[:] = [inner if other == name else other for other in node.output]
        self._low = (self._low - {name}) | {inner}
        self._made.append(helper.make_node("Cast", [inner], [name], f"{name}/cast", to=TensorProto.FLOAT))

    def result(self) -> ModelProto:
        made = ModelProto.FromString(self._proto.SerializeToString())
        read = {name for node in self._made for name in node.input} | {value.name for value in made.graph.output}
        kept = [tensor for tensor in self._proto.graph.initializer if tensor.name in read]
        _fill(made, self._made, [*kept, *self._constants.values()])
        return made

    def imitation(self, written: ModelProto) -> ModelProto:
        """What was written in float32, every bfloat16 value rounded."""
        constants = [
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            if tensor.data_type == TensorProto.BFLOAT16
            else TensorProto.FromString(tensor.SerializeToString())
            for tensor in written.graph.initializer
        ]
        _fill(written, list(self._rounded(written)), constants)
        return written

    def _rounded(self, written: ModelProto) -> Iterator[NodeProto]:
        for node in written.graph.node:
            copy = NodeProto.FromString(node.SerializeToString())
            low = [name for name in copy.output if name in self._low or name.endswith("/bfloat16")]
            if copy.op_type == "Cast" and (low or copy.input[0] in self._low):
                next(attribute for attribute in copy.attribute if attribute.name == "to").i = TensorProto.FLOAT
            copy.output[:] = [f"{name}/exact" if name in low else name for name in copy.output]
            yield copy
            for name in low:
                yield helper.make_node("Cast", [f"{name}/exact"], [f"{name}/rounded"], to=TensorProto.BFLOAT16)
                yield helper.make_node("Cast", [f"{name}/rounded"], [name], to=TensorProto.FLOAT)


def _fill(model: ModelProto, nodes: list[NodeProto], constants: list[TensorProto]) -> None:
    for entries, values in ((model.graph.node, nodes), (model.graph.initializer, constants)):
        del entries[:]
        entries.extend(values)
    del model.graph.value_info[:]


def _allowed(formal: Any, count: int, allowed: set[str]) -> list[bool]:
    """Whether each actual parameter's type may be bfloat16; the last formal one may stand for many."""
    return [formal[min(index, len(formal) - 1)].type_str in allowed for index in range(count)]


def _float_values(proto: ModelProto) -> set[str]:
    """Names of the float32 values of the graph; UserError where a type is not known."""
    known = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    inferred = onnx.shape_inference.infer_shapes(proto)
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        known[value.name] = value.type.tensor_type.elem_type
    for node in proto.graph.node:
        for name in node.output:
            if name and not known.get(name):
                raise UserError(
                    f"the type of '{name}', made by {node.op_type} '{node.name}', is not known",
                    hint="a custom operator hides it: put convert.bf16 before the step that adds custom operators",
                )
    return {name for name, kind in known.items() if kind == TensorProto.FLOAT}


def _compare(ctx: Context, source: Path, imitation: ModelProto, params: ConvertBf16) -> float:
    tried = trials(ctx, source, params.data, optimise=True)
    place = ctx.scratch / "imitation"
    place.mkdir(exist_ok=True)
    rounded = OnnxRunner(
        files.write(imitation, place), threads=ctx.threads, optimise=False
    )  # else it drops the rounding
    return compare_all(
        tried,
        rounded,
        atol=0.0,
        rtol=params.tolerance,
        what="the bfloat16 model",
        per_output=True,
        hint="most likely sums or differences that need more than bfloat16's 8 bits: keep those operators in float32 "
        "with 'block-ops:' or 'block-nodes:'; raise 'tolerance:' only if the model's quality metric holds",
    )
