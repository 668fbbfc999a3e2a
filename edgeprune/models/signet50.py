"""SigNet50 (Chen et al. 2021, "SigNet: A Novel Deep Learning Framework for Radio Signal Classification", IEEE TCCN).

A signal-to-matrix operator turns the I/Q frame into an image of two channels and L x L pixels, which a ResNet50 (He et
al. 2016) classifies. The cost grows with the square of L.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import he_fan_out

WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
WINDOW = 3


class SignalToMatrix(nn.Module):
    """Compare every two samples of a row by their neighborhoods: X F Xᵀ, with a learned F for each row.

    Row t of X is the window of samples around t, zero beyond the ends of the frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(2, WINDOW, WINDOW))

    def forward(self, x: Tensor) -> Tensor:
        """Map frames (N, 2, L) to images (N, 2, L, L)."""
        length = x.shape[-1]
        padded = nn.functional.pad(x, (WINDOW // 2, WINDOW // 2))
        windows = torch.stack([padded[..., start : start + length] for start in range(WINDOW)], dim=-1)
        return windows @ self.filter @ windows.transpose(-1, -2)


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut; the 3x3 has the stride."""

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 4 width, H', W'), each side divided by the stride."""
        body = torch.relu(self.bn1(self.conv1(x)))
        body = torch.relu(self.bn2(self.conv2(body)))
        return torch.relu(self.bn3(self.conv3(body)) + self.shortcut(x))


class SigNet(nn.Module):
    """Signal-to-matrix operator, stem, four stages of bottlenecks, global average pooling, one linear layer.

    Args:
        classes: Number of outputs.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.matrix = SignalToMatrix()
        channels = WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(2, channels, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        layers: list[nn.Module] = []
        for stage, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True)):
            for position in range(blocks):
                stride = 2 if stage > 0 and position == 0 else 1
                shortcut: nn.Module = nn.Identity()
                if position == 0:
                    projection = nn.Conv2d(channels, width * EXPANSION, 1, stride=stride, bias=False)
                    shortcut = nn.Sequential(projection, nn.BatchNorm2d(width * EXPANSION))
                layers.append(Bottleneck(channels, width, stride, shortcut))
                channels = width * EXPANSION
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, classes)
        he_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        x = self.blocks(self.pool(self.stem(self.matrix(x))))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class SigNetFamily:
    """Builds the one SigNet."""

    names = ("signet50",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); any length works.

        Raises:
            ModelError: The frames do not have the two channels I and Q.
        """
        require_iq(name, channels, length)
        return SigNet(classes)


family = SigNetFamily()
