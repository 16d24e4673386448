"""The module in the name of an OpenVINO operator."""

from __future__ import annotations

import pytest

layer = pytest.importorskip("cbuild_openvino.profile", exc_type=ImportError).layer


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("stem.0/node_Conv_124/WithoutBiases", "stem.0"),
        ("classify/node_linear/WithoutBiases/DequantizationMultiply", "classify"),
        ("conv/node_1/fq_input_0", "conv"),
        ("image_abcd_acdb_stem.0/node_Conv_124/WithoutBiases", "stem.0"),
        ("pool/node_mean_acdb_abcd_node_Reshape_141", "pool"),
        ("stem.0/node_1_abcd_aBcd16b_block.1/node_2", "block.1"),
        ("encoder.self_attn_q/node_3", "encoder.self_attn_q"),
        ("Convert_552", ""),
    ],
)
def test_layer(name: str, module: str) -> None:
    assert layer(name) == module
