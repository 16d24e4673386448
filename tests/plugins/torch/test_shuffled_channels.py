"""Models whose code rearranges channels by hand: what lies between is pruned, the rearranged widths stay; and blocks
that the code takes by their numbers, which cannot be dropped."""

from __future__ import annotations

import digits
import pytest
import torch
from cbuild_torch.prune.params.channels import PruneChannels
from cbuild_torch.prune.params.layers import PruneLayers
from torch import Tensor, nn

from compressbuild.api import UserError
from compressbuild.api.testing import run_node

FACTORIES = tuple(f"test_shuffled_channels:{name}" for name in ("shuffle", "numbered", "reducing", "fixing"))
IMAGE = [["image", ["batch", 1, 8, 8], "float32"]]


class Shuffle(nn.Module):
    """ShuffleNet V2: one half goes through layers, then both are interleaved (Ma et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1)
        self.inner = nn.Sequential(
            nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16),
            nn.Conv2d(16, 16, 1),
        )  # fmt: skip
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        left, right = self.stem(image).chunk(2, 1)
        x = torch.cat([left, self.inner(right)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(torch.relu(x).mean((2, 3)))


class Numbered(nn.Module):
    """Takes its blocks by number."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(3))
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = image.flatten(1)
        for number in range(3):
            x = x + self.blocks[number](x)
        return self.head(x)


class Reducing(nn.Module):
    """A block of SegFormer: keys from a strided convolution, a depthwise one between the two feed-forward layers."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.patch, self.num_heads = nn.Conv2d(1, width, 3, padding=1), 4
        self.query, self.key, self.value, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.reduce, self.norm = nn.Conv2d(width, width, 2, 2), nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.depthwise = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)
        self.head = nn.Conv2d(width, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch(image)
        n, _, h, w = x.shape
        y = self.norm(self.reduce(x).flatten(2).transpose(1, 2))
        x = x.flatten(2).transpose(1, 2)
        given = ((self.query, x), (self.key, y), (self.value, y))
        q, k, v = (part(of).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part, of in given)
        x = x + self.out_proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        z = self.first(x).transpose(1, 2)
        z = self.depthwise(z.reshape(n, z.shape[1], h, w)).flatten(2).transpose(1, 2)
        x = x + self.second(torch.nn.functional.gelu(z))
        return self.head(x.transpose(1, 2).reshape(n, x.shape[2], h, w))


class Reduction(nn.Module):
    """Hugging Face's form of it: the code gives what the convolution makes the channels of what it takes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 2, 2), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).reshape(len(x), x.shape[1], -1).transpose(1, 2))


class Fixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.reductions = nn.Conv2d(1, 32, 3, padding=1), nn.ModuleList([Reduction(32)])
        self.wide, self.head = nn.Linear(32, 64), nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.wide(self.reductions[0](self.stem(image)).mean(1))))


def fixing() -> nn.Module:
    return Fixing()


def shuffle() -> nn.Module:
    return Shuffle()


def numbered() -> nn.Module:
    return Numbered()


def reducing() -> nn.Module:
    return Reducing()


def apply(tmp_path, name, run, params):
    asked = {"factory": f"test_shuffled_channels:{name}", "args": {}, "weights": None, "inputs": IMAGE}
    start = run_node("cbuild_torch.model.source:init", None, asked, tmp_path / "in", factories=FACTORIES).out
    return digits.apply(f"cbuild_torch.prune.{run}:prune", start, params, tmp_path / "out", factories=FACTORIES)


def widths(node):
    return {name: (each["before"], each["after"]) for name, each in node.facts["widths"].items()}


def test_what_lies_inside_of_a_shuffle_is_pruned(tmp_path):
    node = apply(tmp_path, "shuffle", "channels", PruneChannels(ratio=0.5))
    assert widths(node) == {"inner.0": (16, 8), "inner.3": (16, 8)}
    assert node.facts["kept"].keys() == {"stem", "inner.4", "head"}


def test_a_feed_forward_with_a_depthwise_convolution_is_pruned_and_attention_stays(tmp_path):
    node = apply(tmp_path, "reducing", "channels", PruneChannels(ratio=0.5))
    assert widths(node) == {"first": (128, 64), "depthwise": (128, 64), "reduce": (32, 16)}
    assert {"query", "key", "value", "out_proj"} <= node.facts["kept"].keys()


def test_a_width_that_the_code_fixes_is_named_with_the_line_that_helps(tmp_path):
    with pytest.raises(UserError, match=r"does not run, in 'reductions\.0") as refused:
        apply(tmp_path, "fixing", "channels", PruneChannels(ratio=0.5, ignore=("stem",)))
    assert """try "ignore: ['reductions.*.conv']", the layer before it""" in refused.value.hint
    spared = PruneChannels(ratio=0.5, ignore=("stem", "reductions.*.conv"))
    assert widths(apply(tmp_path / "again", "fixing", "channels", spared)) == {"wide": (64, 32)}


def test_blocks_taken_by_number_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="the edited model does not run: index 2 is out of range"):
        apply(tmp_path, "numbered", "depth", PruneLayers(drop=(2,)))
