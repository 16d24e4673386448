"""Factories of architectures that the digits network is not, and losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

FACTORIES = (
    "activated",
    "bagged",
    "branching",
    "choosy",
    "variadic",
    "depthwise",
    "encoder",
    "fewer_classes",
    "fixed",
    "masked",
    "mlp",
    "frozen",
    "normalised",
    "peeking",
    "recurrent",
    "regressor",
    "strided",
    "tagger",
    "telling",
    "tied",
    "two_inputs",
)


class Depthwise(nn.Module):
    """Grouped and depthwise convolutions, a concatenation and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1)
        self.depth = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.point = nn.Conv2d(32, 32, 1)
        self.grouped = nn.Conv2d(32, 64, 3, padding=1, groups=4)
        self.up = nn.ConvTranspose2d(96, 32, 2, stride=2)
        self.norm = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem(image))
        y = torch.relu(self.point(self.depth(x)))
        z = torch.relu(self.up(torch.cat([self.grouped(y), x], 1)))
        return self.head(self.norm(z).mean((2, 3)))


class Fixed(nn.Module):
    """Its forward fixes a width, so no channel can go."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 32, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.conv(image)).view(-1, 32, 4).reshape(-1, 32 * 4))


class TwoInputs(nn.Module):
    """Takes its inputs by name, in another order than declared, and returns two named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)

    def forward(self, right: Tensor, left: Tensor) -> dict[str, Tensor]:
        joined = torch.relu(self.left(left)) * self.right(right)
        return {"logits": joined, "norm": joined.square().sum(-1)}


class Tied(nn.Module):
    """An output projection that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.project = nn.Linear(8, 20, bias=False)
        self.project.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.project(self.embed(ids).mean(1))


class Bagged(nn.Module):
    """The mean of what the pixels' brightnesses are embedded as. In ONNX that is a loop, which reads weights too."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(4, 16)
        self.hidden = nn.Linear(16, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        levels = (image.flatten(1) * 3).long().clamp(0, 3)
        return self.head(torch.relu(self.hidden(self.bag(levels))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.rnn(image.flatten(1, 2))[0][:, -1])


class Branching(nn.Module):
    """Control flow that depends on the data cannot be exported."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = self.head(image.flatten(1))
        return x * 2 if x.sum() > 0 else x


class Strided(nn.Module):
    """Convolutions with every option that one can have, their weights of rank 2 however they are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.rich = nn.Conv2d(16, 24, (3, 5), stride=(2, 1), padding=(2, 4), dilation=(1, 2), padding_mode="circular")
        self.same = nn.Conv2d(24, 16, 3, padding="same", bias=False)
        self.head = nn.Linear(16, 10)
        for layer in (self.rich, self.same):
            factors = [torch.randn(size, 2) / 2 for size in layer.weight.shape]
            layer.weight.data = torch.einsum("or,ir,hr,wr->oihw", *factors)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.same(self.rich(self.stem(image))).mean((2, 3)))


class Normalised(nn.Module):
    """Batch normalisation after layers that may swallow it (``*_ok``), and after layers that may not."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.BatchNorm2d(1)
        self.stem, self.stem_ok = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.up, self.up_ok = nn.ConvTranspose2d(8, 6, 2), nn.BatchNorm2d(6, affine=False)
        self.grouped, self.grouped_ok = nn.Conv2d(6, 12, 3, groups=2), nn.BatchNorm2d(12)
        self.groups_up, self.groups_up_ok = nn.ConvTranspose2d(12, 12, 1, groups=3), nn.BatchNorm2d(12)
        self.twice, self.twice_norm = nn.Conv2d(12, 12, 1), nn.BatchNorm2d(12)
        self.shared, self.shared_norm = nn.Conv2d(12, 12, 1), nn.BatchNorm2d(12)
        self.sequence, self.sequence_norm = nn.Linear(12, 12), nn.BatchNorm1d(49)
        self.hidden, self.hidden_ok = nn.Linear(12, 10), nn.BatchNorm1d(10)
        self.returned, self.returned_norm = nn.Linear(10, 10), nn.BatchNorm1d(10)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2.0)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.relu(self.stem_ok(self.stem(self.before(image))))
        x = torch.relu_(self.grouped_ok(self.grouped(self.up_ok(self.up(x)))))
        x = self.groups_up_ok(self.groups_up(x))
        x = self.twice_norm(self.twice(x)) + self.twice(x)
        y = self.shared(x)
        x = self.shared_norm(y) + y.abs()
        x = self.sequence_norm(self.sequence(x.flatten(2).transpose(1, 2)))
        z = self.returned(torch.relu(self.hidden_ok(self.hidden(x.mean(1)))))
        return self.returned_norm(z), z


class Swish(nn.Module):
    """An activation of the model's own."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class Activated(nn.Module):
    """One activation in two places, in place, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 16)
        self.act, self.own = nn.SiLU(inplace=True), Swish()
        self.tail = nn.Sequential(nn.Linear(16, 10), self.act)

    def forward(self, image: Tensor) -> Tensor:
        return self.tail(self.own(self.act(self.head(image.flatten(1)))))


class Masked(nn.Module):
    """A padded batch goes through torch's fused encoder as a nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(ids), src_key_padding_mask=mask == 0).mean(1))


class Peeking(nn.Module):
    """Calls a layer, and reads its weight too."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(64, 64)
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.wide(image.flatten(1)) + self.wide.weight.mean(0))


class Telling(nn.Module):
    """Its own parameter, its layers and its operators have names that somebody may want for an input or output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        hidden = (self.table(ids) @ self.weight).relu()
        return self.head(hidden) + 1, hidden.mean(1)


def telling() -> nn.Module:
    return Telling()


def depthwise() -> nn.Module:
    return Depthwise()


def fixed() -> nn.Module:
    return Fixed()


def two_inputs() -> nn.Module:
    return TwoInputs()


def tied() -> nn.Module:
    return Tied()


def bagged() -> nn.Module:
    return Bagged()


def recurrent() -> nn.Module:
    return Recurrent()


def branching() -> nn.Module:
    return Branching()


def mlp(hidden: int = 64) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def frozen() -> nn.Module:
    module = mlp()
    module[1].weight.requires_grad_(False)
    return module


def strided() -> nn.Module:
    return Strided()


def normalised() -> nn.Module:
    return Normalised()


def activated() -> nn.Module:
    return Activated()


def masked() -> nn.Module:
    return Masked()


def peeking() -> nn.Module:
    return Peeking()


def regressor() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))


def fewer_classes() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


class Choosy(nn.Module):
    """Answers for some of its samples."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(image.flatten(1)[::2])


class Variadic(Choosy):
    def forward(self, *images: Tensor) -> Tensor:
        return self.head(images[0].flatten(1))


def choosy() -> nn.Module:
    return Choosy()


def variadic() -> nn.Module:
    return Variadic()


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def not_a_module() -> Any:
    return {"weights": 1}


def means() -> Any:
    """A regression: predict the mean of an image."""
    from examples.digits.data import train

    for images, _ in train():
        yield images, images.mean((1, 2, 3), keepdims=False)[:, None]


def brightest() -> Any:
    """Tokens: the brightest column of each row of an image, N×8."""
    from examples.digits.data import train

    for images, _ in train():
        yield images, images[:, 0].argmax(-1)


def tagger() -> nn.Module:
    """Scores for each row of an image: N×1×8×8 to N×8×8."""
    return nn.Sequential(nn.Flatten(1, 2), nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))


def tagging(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each token, classes on the last axis."""
    return nn.functional.cross_entropy(outputs.flatten(0, 1), labels.flatten())


def encoder() -> nn.Module:
    """Embeddings of images, N×1×8×8 to N×16."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))


def contrastive(outputs: Tensor, labels: Tensor) -> Tensor:
    """Samples of one label near each other (Khosla et al., "Supervised contrastive learning", 2020)."""
    unit = nn.functional.normalize(outputs, dim=-1)
    alone = torch.eye(len(labels), dtype=torch.bool)
    logits = (unit @ unit.T / 0.2).masked_fill(alone, -1e9)
    same = (labels[:, None] == labels) & ~alone
    return -(logits.log_softmax(1) * same).sum(1).div(same.sum(1).clamp(min=1)).mean()


def one_too_many() -> Any:
    """A training set that leaves a batch of one sample."""
    from examples.digits.data import train

    images, labels = next(iter(train()))
    yield images[:65], labels[:65]


def pessimist(outputs: Tensor, labels: Tensor) -> Tensor:
    """A loss that pushes every logit to zero, whatever the label."""
    return outputs.square().mean()


def exploding(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs.sum() * float("nan")
