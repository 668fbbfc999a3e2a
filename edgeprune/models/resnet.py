"""The residual networks of arXiv 2406.07929 and their one-dimensional variants.

`resnet56` and `resnet110` read the I/Q frame as an image of two rows, as published: 3x3 convolutions, stages of 16, 32
and 64 channels, and a shortcut between stages that averages the whole map and pads the channels with zeros. The authors
cut the gradient of that shortcut; here it flows, because a network whose transition block was dropped could otherwise
not train anything before it. The output is the same. `resnet56-1d` and `resnet110-1d` use Conv1d over time and a
strided 1x1 projection, which boards run fastest.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import he_fan_out

WIDTHS = (16, 32, 64)


class PooledShortcut(nn.Module):
    """Per-channel mean over the map, zero-padded to more channels; adding it broadcasts over the map.

    It is `widths.Resizable`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.size = (in_channels, out_channels)

    def resized(self, size: tuple[int, int]) -> "PooledShortcut":
        """Build the same shortcut for other numbers of channels."""
        return PooledShortcut(*size)

    def forward(self, x: Tensor) -> Tensor:
        """Pool and pad (N, C, H, W) to (N, C', 1, 1)."""
        inputs, outputs = self.size
        return nn.functional.pad(x.mean(dim=(2, 3), keepdim=True), (0, 0, 0, 0, 0, outputs - inputs))


class BasicBlock(nn.Module):
    """Two convolutions of kernel size 3 beside a shortcut, 1-D or 2-D by the layers it is given."""

    def __init__(
        self,
        conv: Callable[..., nn.Module],
        norm: Callable[[int], nn.Module],
        in_channels: int,
        channels: int,
        stride: int,
        shortcut: nn.Module,
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = conv(channels, channels, 3, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, ...) to (N, C', ...), each length divided by the stride."""
        body = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(body)) + self.shortcut(x))


class ResNet(nn.Module):
    """Stem, three stages of residual blocks, global average pooling, one linear layer.

    Args:
        dims: 2 for the published networks over a (2, L) map, 1 for convolutions over time.
        blocks: Residual blocks in each of the three stages.
        classes: Number of outputs.
    """

    def __init__(self, dims: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.dims = dims
        conv, norm = (nn.Conv1d, nn.BatchNorm1d) if dims == 1 else (nn.Conv2d, nn.BatchNorm2d)
        self.stem = nn.Sequential(
            conv(2 if dims == 1 else 1, WIDTHS[0], 3, padding=1, bias=False), norm(WIDTHS[0]), nn.ReLU()
        )
        layers: list[nn.Module] = []
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for position in range(blocks):
                transition = stage > 0 and position == 0
                shortcut: nn.Module = nn.Identity()
                if transition and dims == 1:
                    shortcut = nn.Sequential(nn.Conv1d(channels, width, 1, stride=2, bias=False), nn.BatchNorm1d(width))
                elif transition:
                    shortcut = PooledShortcut(channels, width)
                layers.append(BasicBlock(conv, norm, channels, width, 2 if transition else 1, shortcut))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.fc = nn.Linear(WIDTHS[-1], classes)
        he_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        if self.dims == 2:
            x = x.unsqueeze(1)
        x = self.blocks(self.stem(x))
        logits: Tensor = self.fc(x.mean(dim=-1) if self.dims == 1 else x.mean(dim=(2, 3)))
        return logits


class ResNetFamily:
    """Builds the four residual networks."""

    names = ("resnet56", "resnet110", "resnet56-1d", "resnet110-1d")

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build one for frames (N, 2, length); any length works.

        Raises:
            ModelError: The frames do not have the two channels I and Q.
        """
        require_iq(name, channels, length)
        return ResNet(dims=1 if name.endswith("-1d") else 2, blocks=9 if "56" in name else 18, classes=classes)


family = ResNetFamily()
