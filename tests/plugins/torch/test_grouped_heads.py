"""prune.heads where several queries share a head of key and value: the head goes with all of them."""

from __future__ import annotations

import digits
import numpy as np
import pytest
import torch
from cbuild_torch.model.module import load_model
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.heads import PruneHeads
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaModel

from compressbuild.api import UserError
from compressbuild.api.testing import make_context, run_node

HEADS, CHANNELS = "cbuild_torch.prune.heads:prune", "cbuild_torch.prune.channels:prune"
IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]
WIDTH = 32


class Grouped(nn.Module):
    """Attention as in Llama's own code: 8 queries, 2 heads of key and value, each for its 4 neighbours."""

    def __init__(self, tiled: bool) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim, self.tiled = 8, 2, 4, tiled
        self.wq, self.wo = nn.Linear(WIDTH, 32, bias=False), nn.Linear(32, WIDTH)
        self.wk, self.wv = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (self.wq, self.wk, self.wv))
        times = self.n_heads // self.n_kv_heads
        if self.tiled:
            k, v = k.repeat(1, times, 1, 1), v.repeat(1, times, 1, 1)
        else:
            k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        return self.wo(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Reader(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.embed, self.attention, self.head = nn.Linear(8, WIDTH), attention, nn.Linear(WIDTH, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image.flatten(1, 2))
        return self.head((x + self.attention(x)).mean(1))


class Llama(nn.Module):
    def __init__(self, heads: int) -> None:
        super().__init__()
        config = LlamaConfig(
            vocab_size=50,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=8,
            num_key_value_heads=heads,
            intermediate_size=48,
            max_position_embeddings=64,
            initializer_range=0.3,
            use_cache=False,
        )
        self.model = LlamaModel(config)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.model(input_ids=input_ids).last_hidden_state


def grouped() -> nn.Module:
    return Reader(Grouped(tiled=False))


def tiled() -> nn.Module:
    return Reader(Grouped(tiled=True))


def llama(heads: int = 2) -> nn.Module:
    return Llama(heads)


FACTORIES = tuple(f"test_grouped_heads:{name}" for name in ("grouped", "tiled", "llama"))


def source(place, name, inputs=IMAGE, **args):
    asked = {"factory": f"test_grouped_heads:{name}", "args": args, "weights": None, "inputs": inputs}
    return run_node("cbuild_torch.model.source:init", None, asked, place / "source", factories=FACTORIES).out


def module(directory):
    return load_model(make_context(directory.with_name("load"), factories=FACTORIES), directory)


def test_a_head_goes_with_its_queries(tmp_path):
    start = source(tmp_path, "grouped")
    node = digits.apply(HEADS, start, PruneHeads(ratio=0.5), tmp_path / "out", factories=FACTORIES)
    (kept,) = node.facts["kept"]["attention"]
    assert (node.facts["heads"], node.facts["heads_before"], node.facts["queries"]) == (1, 2, {"attention": 4})
    before, after = module(start).attention, module(node.out).attention
    assert (after.n_heads, after.n_kv_heads) == (4, 1)
    assert torch.equal(after.wq.weight, before.wq.weight[kept * 16 : kept * 16 + 16])
    assert torch.equal(after.wk.bias, before.wk.bias[kept * 4 : kept * 4 + 4])
    assert torch.equal(after.wo.weight, before.wo.weight[:, kept * 16 : kept * 16 + 16])
    image = {"image": np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)}
    gone = slice((1 - kept) * 16, (1 - kept) * 16 + 16)
    whole = module(start)
    whole.attention.wo.weight.data[:, gone] = 0  # what is gone gave nothing
    wanted = whole(torch.from_numpy(image["image"])).detach().numpy()
    found = digits.outputs(node.out, image, FACTORIES)["output"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_queries_that_share_heads_in_another_order_are_refused(tmp_path):
    with pytest.raises(UserError, match="dropping heads changes more than zeroing them does"):
        digits.apply(HEADS, source(tmp_path, "tiled"), PruneHeads(), tmp_path / "out", factories=FACTORIES)


@pytest.mark.parametrize("heads", [2, 4, 8])
def test_llama(tmp_path, heads):
    start = source(tmp_path, "llama", [["input_ids", ["batch", "tokens"], "int64"]], heads=heads)
    node = digits.apply(HEADS, start, PruneHeads(ratio=0.5, scope="local"), tmp_path / "out", factories=FACTORIES)
    assert (node.facts["heads"], node.facts["heads_before"]) == (heads, 2 * heads)
    layer = module(node.out).model.layers[0].self_attn
    assert (layer.q_proj.out_features, layer.k_proj.out_features) == (16, heads * 2)


def test_channels_leave_attention_to_heads(tmp_path):
    start = source(tmp_path, "grouped")
    with pytest.raises(UserError, match=r"it is part of attention: prune\.heads"):
        digits.apply(
            CHANNELS, start, PruneChannels(ratio=0.5, ignore=("embed",)), tmp_path / "out", factories=FACTORIES
        )
