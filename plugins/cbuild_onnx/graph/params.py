"""The parameters of the techniques that rewrite graphs."""

from __future__ import annotations

from typing import Annotated, Literal

from compressbuild.api import Amount, Count, DatasetRef, Meta, Params

__all__ = ["ExtractSubgraph", "OptimizeOnnx"]


class OptimizeOnnx(Params):
    """Simplify a graph: constants folded, needless nodes removed, patterns fused, copies of embeddings stored once.

    The outputs stay the same.
    """

    method: Annotated[
        Literal["slim", "basic", "extended", "transformer"],
        Meta(
            description="`slim` (onnxslim) and `basic` (ONNX Runtime, offline) keep to standard operators; `extended` "
            "(ONNX Runtime) and `transformer` (its fusions of attention, GELU and normalisation) add operators that "
            "only ONNX Runtime runs: TensorRT and OpenVINO refuse them"
        ),
    ] = "basic"
    model_type: Annotated[
        Literal["bert", "bart", "gpt2", "t5", "vit", "swin", "clip", "conformer"],
        Meta(description="for `transformer`: the model whose patterns are fused"),
    ] = "bert"
    heads: Annotated[Count, Meta(description="for `transformer`: attention heads; 0: found in the graph")] = 0
    hidden: Annotated[Count, Meta(description="for `transformer`: hidden size; 0: found in the graph")] = 0
    data: Annotated[DatasetRef | None, Meta(description="dataset to check on; without it, generated inputs")] = None
    atol: Annotated[Amount, Meta(description="largest absolute difference allowed in an output")] = 1e-4
    rtol: Annotated[Amount, Meta(description="difference allowed on top, relative to the value")] = 1e-3


class ExtractSubgraph(Params):
    """Cut a part out of a graph, by the names of the values where it begins and ends.

    A value is a graph input, a graph output, or what a node gives.
    """

    outputs: Annotated[
        tuple[str, ...], Meta(min_length=1, description="names of the values that become the outputs, in this order")
    ]
    inputs: Annotated[
        tuple[str, ...],
        Meta(
            description="names of the values that become the inputs; without it, the inputs of the whole graph that "
            "the outputs need"
        ),
    ] = ()
