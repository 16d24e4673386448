"""The parameters of the techniques that rewrite graphs."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, Count, DatasetRef, Meta, Params

__all__ = ["ExtractSubgraph", "OptimizeOnnx"]

Names = Annotated[tuple[str, ...], Meta(min_length=1)]


class OptimizeOnnx(Params):
    """Simplify a graph: constants folded, needless nodes removed, patterns fused; the outputs stay the same.

    ``method``: ``slim`` (onnxslim) and ``basic`` (ONNX Runtime, offline) keep to standard operators; ``extended``
    (ONNX Runtime) and ``transformer`` (its attention, GELU and normalisation fusions) put in operators that only ONNX
    Runtime runs: TensorRT and OpenVINO refuse them. ``model_type``, ``heads``, ``hidden``: the transformer's; 0: any.
    ``data``: dataset to check on (default: made-up inputs). ``atol``, ``rtol``: allowed difference of each output.
    """

    method: Literal["slim", "basic", "extended", "transformer"] = "basic"
    model_type: Literal["bert", "bart", "gpt2", "t5", "vit", "swin", "clip", "conformer"] = "bert"
    heads: Count = 0
    hidden: Count = 0
    data: DatasetRef | None = None
    atol: Amount = 1e-4
    rtol: Amount = 1e-3


class ExtractSubgraph(Params):
    """Cut a part out of a graph, by the names of the values where it begins and ends.

    ``inputs``, ``outputs``: names of values: graph inputs and outputs, or what nodes give. Default of ``inputs``: those
    of the whole graph that the outputs need.
    """

    outputs: Names
    inputs: tuple[str, ...] = ()
