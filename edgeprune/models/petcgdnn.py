"""PET-CGDNN (Zhang et al. 2021, "An Efficient Deep Learning Model for Automatic Modulation Recognition Based on
Parameter Estimation and Transformation", IEEE Communications Letters).

A linear layer estimates the phase of a frame, which is turned back by it; two convolutions and a GRU read the result.
The published first convolution spans both rows of a map, which is a convolution over time with two input channels.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import he_and_lecun, lecun_and_orthogonal

WIDTHS = (75, 25)
KERNELS = (8, 5)
HIDDEN = 128
SHORTEST = sum(KERNELS) - 1


class PhaseCorrection(nn.Module):
    """Turn a frame back by a phase that a linear layer estimates from its samples.

    Args:
        length: Samples in a frame.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.phase = nn.Linear(2 * length, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply frames (N, 2, L) by exp(-j phase), each by its own."""
        radians = self.phase(torch.flatten(x, 1)).to(x.dtype)
        cosine, sine = torch.cos(radians), torch.sin(radians)
        in_phase, quadrature = x[:, 0], x[:, 1]
        return torch.stack((in_phase * cosine + quadrature * sine, quadrature * cosine - in_phase * sine), dim=1)


class PETCGDNN(nn.Module):
    """Phase correction, two convolutions, one GRU layer, one linear layer on its last state.

    Args:
        length: Samples in a frame, 12 or more.
        classes: Number of outputs.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        self.correction = PhaseCorrection(length)
        self.conv1 = nn.Sequential(nn.Conv1d(2, WIDTHS[0], KERNELS[0]), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv1d(WIDTHS[0], WIDTHS[1], KERNELS[1]), nn.ReLU())
        self.gru = nn.GRU(WIDTHS[1], HIDDEN, batch_first=True)
        self.fc = nn.Linear(HIDDEN, classes)
        he_and_lecun(self)
        lecun_and_orthogonal(self.gru)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        x = self.conv2(self.conv1(self.correction(x)))
        states, _ = self.gru(x.transpose(1, 2))
        logits: Tensor = self.fc(states[:, -1])
        return logits


class PETCGDNNFamily:
    """Builds the one PET-CGDNN."""

    names = ("petcgdnn",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); the network reads only that length.

        Raises:
            ModelError: The frames do not have the two channels I and Q, or are shorter than the unpadded kernels.
        """
        require_iq(name, channels, length, SHORTEST)
        return PETCGDNN(length, classes)


family = PETCGDNNFamily()
