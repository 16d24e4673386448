"""Models whose code counts on widths: it divides, joins, reorders or chooses channels. Odd channels are dead: half of
each layer can go without a change of the output."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

IMAGES = [["x", ["batch", 3, 16, 16], "float32"]]
TOKENS = [["x", ["batch", "tokens", 12], "float32"]]


class Between(nn.Module):
    """``second`` takes what ``join(first(x), x)`` makes; ``third`` and ``fourth`` are plain."""

    def __init__(self, width: int, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(width, 32, 3, padding=1)
        self.third, self.fourth, self.head = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1), nn.Linear(32, 10)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.join(torch.relu(self.first(x)), x))
        return self.head(torch.relu(self.fourth(torch.relu(self.third(torch.relu(x))))).mean((2, 3)))


def _gate(x: Tensor, _: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return a * b


def _unequal(x: Tensor, _: Tensor) -> Tensor:
    a, b = x.split((8, 24), 1)
    return torch.cat([b * 2, a], 1)


def _gram(x: Tensor, _: Tensor) -> Tensor:
    return (torch.einsum("nchw,ndhw->ncd", x, x).softmax(2) @ x.flatten(2)).view(x.shape)


JOINS: dict[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]] = {
    "gate": (16, _gate),
    "unequal": (32, _unequal),
    "slices": (16, lambda x, _: x[:, :16] * x[:, 16:]),
    "shuffle": (32, lambda x, _: x.view(len(x), 4, 8, *x.shape[2:]).transpose(1, 2).flatten(1, 2)),
    "flip": (32, lambda x, _: x.flip(1)),
    "padded": (40, lambda x, _: pad(x, (0, 0, 0, 0, 4, 4))),
    "input-first": (35, lambda x, image: torch.cat([image, x], 1)),
    "input-last": (35, lambda x, image: torch.cat([x, image], 1)),
    "constant": (32, lambda x, _: x + torch.linspace(0, 1, 32).view(1, 32, 1, 1)),
    "gram": (32, _gram),
    "written": (32, lambda x, _: torch.zeros(x.shape).index_copy_(1, torch.arange(32), x)),
    "repeated": (64, lambda x, _: x.repeat(1, 2, 1, 1)),
    "plain": (32, lambda x, _: x),
}
FIRST_GOES = ("input-last", "plain")  # torch-pruning follows these


class PartsInAnyOrder(nn.Module):
    """The second part of a split comes first in the concatenation, beside a layer that takes the first part."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Conv2d(3, 32, 3), nn.Conv2d(8, 32, 1)
        self.join, self.head = nn.Conv2d(56, 32, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.relu(self.first(x)).split((8, 24), 1)
        return self.head(torch.relu(self.join(torch.cat([b, torch.relu(self.inner(a))], 1))).mean((2, 3)))


class GatedLinear(nn.Module):
    """GEGLU: one layer makes value and gate of a block of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.inner, self.narrow, self.head = (
            nn.Linear(*size) for size in ((12, 64), (32, 32), (32, 32), (32, 5))
        )

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.wide(x).chunk(2, -1)
        return self.head(torch.relu(self.narrow(torch.relu(self.inner(value * torch.relu(gate))))))


class Routed(nn.Module):
    """The largest outputs of ``router`` choose which rows of ``experts`` are used."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.wide, self.narrow, self.head = (
            nn.Linear(*size) for size in ((12, 16), (12, 32), (32, 32), (32, 5))
        )
        self.experts = nn.Parameter(torch.randn(16, 32))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).topk(2, -1)
        mixed = (self.experts[chosen] * weight.unsqueeze(-1)).sum(-2)
        return self.head(self.narrow(torch.relu(self.wide(x))) * mixed)


class Unnamed(nn.Module):
    """Attention with grouped queries, whose parts have names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(12, 32), nn.Linear(12, 16), nn.Linear(12, 16), nn.Linear(32, 12)
        self.wide, self.narrow, self.head = nn.Linear(12, 32), nn.Linear(32, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = (layer(x).view(n, t, -1, 8).transpose(1, 2) for layer in (self.a, self.b, self.c))
        mixed = scaled_dot_product_attention(q, k, v, enable_gqa=True)
        x = x + self.d(mixed.transpose(1, 2).reshape(n, t, -1))
        return self.head(x + self.narrow(torch.relu(self.wide(x))))


def _dead(model: nn.Module) -> nn.Module:
    """Every second output of each layer but the last is zero."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers[:-1]:
            layer.weight[1::2] = 0
            layer.bias[1::2] = 0
    return model


def between(how: str) -> nn.Module:
    return _dead(Between(*JOINS[how]))


def parts_in_any_order() -> nn.Module:
    return _dead(PartsInAnyOrder())


def gated_linear() -> nn.Module:
    return _dead(GatedLinear())


def routed() -> nn.Module:
    return Routed()


def unnamed() -> nn.Module:
    return Unnamed()


class Blind(nn.Module):
    """Outputs without a gradient."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3), nn.Linear(32, 16)
        self.gives = gives

    def scores(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        if self.gives == "no_grad":
            with torch.no_grad():
                return self.scores(x)
        scores = self.scores(x)
        if self.gives == "both":
            return {"logits": scores, "class": scores.argmax(1)}
        if self.gives == "topk":
            return scores.topk(3).indices
        return {"argmax": scores.argmax(1), "gt": (scores > 0).float(), "detach": scores.detach()}[self.gives]


def blind(gives: str) -> nn.Module:
    return Blind(gives)


FACTORIES = ("between", "parts_in_any_order", "gated_linear", "routed", "unnamed", "blind")
