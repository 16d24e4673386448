"""The module in the name of an operator."""

from __future__ import annotations

import pytest
from cbuild_kit.profiled import Run, answer, layer_of

NAMES = [
    ("blocks.0.conv1/node_Conv_126", "blocks.0.conv1"),
    ("blocks.0.conv1/node_Conv_126_token_4", "blocks.0.conv1"),
    ("/layer1/layer1.0/conv1/Conv", "layer1/layer1.0/conv1"),
    ("a.b/node_1 + c.d/node_2", "a.b"),
    ("Reformatting CopyNode for Input Tensor 0 to a.b/node_1", "a.b"),
    ("PWN(a.b/relu, a.b/add)", "a.b"),
    ("image_QuantizeLinear", ""),
    ("aten::conv2d", ""),
    ("", ""),
]


@pytest.mark.parametrize(("name", "layer"), NAMES)
def test_layer_of(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_a_profile_says_it() -> None:
    run = Run(9.0, {("a.b/x", "Conv"): (4.0, 1), ("y", "Relu"): (1.0, 1)})
    assert [row["layer"] for row in answer([run], 1, {})["operators"]] == ["a.b", ""]
    assert [row["layer"] for row in answer([run], 1, {}, str.upper)["operators"]] == ["A.B/X", "Y"]
