"""The layers that two OpenVINO models have in common, and the models that give their outputs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..runtime import openvino

__all__ = ["Layer", "cut", "exposing", "layers", "positions"]

_NO_LAYERS = frozenset({"Constant", "Parameter", "Result", "FakeQuantize", "Convert", "ReadValue", "Assign"})
_CONVOLUTIONS = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
)


_WEIGHTED = _CONVOLUTIONS | {"MatMul", "Gather", "LSTMSequence", "GRUSequence", "RNNSequence"}


class Layer(NamedTuple):
    """An output of an operator that depends on the model's inputs. ``node``: its name, ``port``: which output."""

    node: str
    op: str
    port: int

    @property
    def weighs(self) -> bool:
        """Whether it may have weights. OpenVINO numbers the operators that it adds: their names may agree by chance."""
        return self.op in _WEIGHTED

    @property
    def convolves(self) -> bool:
        return self.op in _CONVOLUTIONS


def layers(model: Any) -> dict[str, Layer]:
    """Name → layer, in the order in which they run: those whose output is float. One of several outputs has its number
    behind the name."""
    found: dict[str, Layer] = {}
    fed: set[str] = set()
    for node in model.get_ordered_ops():
        name, op = node.get_friendly_name(), node.get_type_name()
        before = (each.get_source_output().get_node().get_friendly_name() for each in node.inputs())
        if op != "Parameter" and not any(each in fed for each in before):
            continue
        fed.add(name)
        if op in _NO_LAYERS:
            continue
        for port, output in enumerate(node.outputs()):
            if output.get_element_type().is_real():
                found[name if len(node.outputs()) == 1 else f"{name}.{port}"] = Layer(name, op, port)
    return found


def exposing(model: Any, shown: Mapping[str, Layer]) -> Any:
    """A copy that gives out these layers, too: see :func:`positions`."""
    made = model.clone()
    made.add_outputs(_outputs(made, shown.values()))
    return made


def cut(model: Any, shown: Mapping[str, Layer]) -> Any:
    """A copy that gives them out, too, in which what reads one of them reads an input instead, behind the model's own
    inputs and in their order: every layer runs on given ones."""
    made = model.clone()
    given = []
    for output in _outputs(made, shown.values()):
        readers = output.get_target_inputs()
        place = openvino.opset13.parameter(output.get_partial_shape(), output.get_element_type())
        for reader in readers:
            if reader.get_node().get_type_name() != "Result":
                reader.replace_source_output(place.output(0))
        given.append((output, place))
    made.add_outputs([output for output, _ in given])
    made.add_parameters([place for _, place in given])
    made.validate_nodes_and_infer_types()
    return made


def positions(model: Any, shown: Mapping[str, Layer]) -> dict[str, int]:
    """Name → number of the output that gives a layer out. One that was an output already is there once."""
    found = {}
    for number, result in enumerate(model.get_results()):
        output = result.input(0).get_source_output()
        found[output.get_node().get_friendly_name(), output.get_index()] = number
    return {name: found[layer.node, layer.port] for name, layer in shown.items()}


def _outputs(model: Any, shown: Iterable[Layer]) -> list[Any]:
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    return [nodes[layer.node].output(layer.port) for layer in shown]
