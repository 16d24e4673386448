"""Five small networks for images N×1×32×32, each built as the family that it is named after."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 10


def normed(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class Pooled(nn.Module):
    """The mean over the image, then a linear classifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(torch.flatten(self.pool(x), 1))


class Basic(nn.Module):
    """ResNet-18's block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = normed(inputs, outputs, 3, stride)
        self.conv2, self.bn2 = normed(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.downsample = None if same else nn.Sequential(*normed(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(y)) + shortcut)


class Inverted(nn.Module):
    """MobileNetV2's block: a wide depthwise convolution between narrow ones."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *normed(inputs, wide, 1),
            nn.ReLU6(),
            *normed(wide, wide, 3, stride, groups=wide),
            nn.ReLU6(),
            *normed(wide, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class Excited(nn.Module):
    """EfficientNet's block: SiLU, and a gate on each channel."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.residual = stride == 1 and inputs == outputs
        self.widen = nn.Sequential(*normed(inputs, wide, 1), nn.SiLU())
        self.depthwise = nn.Sequential(*normed(wide, wide, 3, stride, groups=wide), nn.SiLU())
        self.squeeze, self.excite = nn.Conv2d(wide, 16, 1), nn.Conv2d(16, wide, 1)
        self.narrow = nn.Sequential(*normed(wide, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.widen(x))
        gate = self.excite(F.silu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
        y = self.narrow(y * torch.sigmoid(gate))
        return x + y if self.residual else y


class ChannelsLast(nn.Module):
    """LayerNorm over the channels of N×C×H×W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Next(nn.Module):
    """ConvNeXt's block, with its scale on each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.narrow(F.gelu(self.widen(y)))
        return x + y.permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """ViT's block, with q, k and v in one layer as timm has them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(seen.transpose(1, 2).reshape(n, t, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4, depth: int = 3, patch: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, (32 // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[Encoder(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.classify(self.norm(self.blocks(x))[:, 0])


def resnet() -> nn.Module:
    blocks = [Basic(16, 16, 1), Basic(16, 32, 2), Basic(32, 64, 2), Basic(64, 64, 2)]
    return nn.Sequential(*normed(1, 16, 3, 2), nn.ReLU(), *blocks, Pooled(64))


def mobilenet() -> nn.Module:
    blocks = [Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 32, 2), Inverted(32, 32, 1)]
    return nn.Sequential(*normed(1, 16, 3, 2), nn.ReLU6(), *blocks, *normed(32, 128, 1), nn.ReLU6(), Pooled(128))


def efficientnet() -> nn.Module:
    blocks = [Excited(16, 24, 2), Excited(24, 24, 1), Excited(24, 32, 2), Excited(32, 32, 1)]
    return nn.Sequential(*normed(1, 16, 3, 2), nn.SiLU(), *blocks, *normed(32, 128, 1), nn.SiLU(), Pooled(128))


def convnext() -> nn.Module:
    stem = [nn.Conv2d(1, 32, 4, 4), ChannelsLast(32)]
    smaller = [ChannelsLast(32), nn.Conv2d(32, 64, 2, 2)]
    return nn.Sequential(*stem, Next(32), Next(32), *smaller, Next(64), Next(64), Pooled(64))


def vit() -> nn.Module:
    return ViT()


def build(name: str) -> nn.Module:
    return {"resnet": resnet, "mobilenet": mobilenet, "efficientnet": efficientnet, "convnext": convnext, "vit": vit}[
        name
    ]()
