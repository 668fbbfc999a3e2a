"""The VGG16 of arXiv 2406.07929: ten 3x3 convolutions over the I/Q frame as an image of two rows, three linear layers.

The first four convolutions pad by 3, as published, so that the two rows grow to a map tall enough for four poolings.
Every convolution with its normalization and activation is a module of its own, and so is every pooling.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import he_fan_out

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
PADDINGS = (3, 3, 1, 1)
HIDDEN = (256, 128)


def map_size(length: int) -> tuple[int, int]:
    """Height and width of the last map, for frames (2, length)."""
    height, width = 2, length
    for group, padding in zip(GROUPS, PADDINGS, strict=True):
        grown = len(group) * 2 * (padding - 1)
        height, width = (height + grown) // 2, (width + grown) // 2
    return height, width


class VGG(nn.Module):
    """Four groups of convolutions with a 2x2 max pooling after each, then three linear layers.

    Args:
        length: Samples in a frame.
        classes: Number of outputs.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for group, padding in zip(GROUPS, PADDINGS, strict=True):
            for width in group:
                convolution = nn.Conv2d(channels, width, 3, padding=padding)
                layers.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        height, width = map_size(length)
        inputs = channels * height * width
        hidden: list[nn.Module] = []
        for outputs in HIDDEN:
            hidden.append(nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()))
            inputs = outputs
        self.hidden = nn.Sequential(*hidden)
        self.fc = nn.Linear(inputs, classes)
        he_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        x = self.features(x.unsqueeze(1))
        logits: Tensor = self.fc(self.hidden(torch.flatten(x, 1)))
        return logits


class VGGFamily:
    """Builds the one VGG."""

    names = ("vgg16",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); any length works, and the network reads only that length.

        Raises:
            ModelError: The frames do not have the two channels I and Q.
        """
        require_iq(name, channels, length)
        return VGG(length, classes)


family = VGGFamily()
