"""PET-CGDNN (Zhang et al. 2021, "An Efficient Deep Learning Model for Automatic Modulation Recognition Based on
Parameter Estimation and Transformation", IEEE Communications Letters).

A linear layer estimates the phase of a frame, which is turned back by it; two convolutions and a GRU read the result.
The published first convolution spans both rows of a map, which is a convolution over time with two input channels.
"""

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.models.recurrent import initialise_recurrent

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
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation of what ReLU follows, LeCun's of the linear layers, biases at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                linear = isinstance(module, nn.Linear)
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if linear else "relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        initialise_recurrent(self.gru)

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
        if channels != 2:
            raise ModelError(f"{name} takes 2 channels (I and Q), not {channels}")
        if length < SHORTEST:
            raise ModelError(f"{name} takes frames of {SHORTEST} samples or more, not {length}")
        return PETCGDNN(length, classes)


family = PETCGDNNFamily()
