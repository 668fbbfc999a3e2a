"""CNN1D, the residual network of O'Shea, Roy & Clancy (2018, IEEE JSTSP) in the form arXiv 2406.07929 prunes.

Six stacks of 32 channels, each a 1x1 convolution and two residual units, with a max pooling after each; no
normalization and no biases but in the two linear layers. The first stack reads the I/Q frame as an image of two rows,
and its pooling joins the rows.

Stacks and poolings are modules of their own: without a stack, the pooling after it still halves the length.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq

STACKS = 6
WIDTH = 32
HIDDEN = 128
DROPOUT = 0.3
SHORTEST = 2**STACKS


class ResidualUnit(nn.Module):
    """Two convolutions beside an identity shortcut, then ReLU.

    Args:
        conv1: Keeps the channels.
        conv2: Brings the shape back to that of the input.
    """

    def __init__(self, conv1: nn.Conv1d | nn.Conv2d, conv2: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.conv1 = conv1
        self.conv2 = conv2

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, ...) to the same shape."""
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + x)


def _unit(dims: int) -> ResidualUnit:
    """Kernels of 3 over time; over the two rows, kernels of 2 whose paddings make 3 rows and then 2 again."""
    if dims == 1:
        return ResidualUnit(
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.Conv1d(WIDTH, WIDTH, 3, padding=1, bias=False)
        )
    return ResidualUnit(
        nn.Conv2d(WIDTH, WIDTH, (2, 3), padding=(1, 1), bias=False),
        nn.Conv2d(WIDTH, WIDTH, (2, 3), padding=(0, 1), bias=False),
    )


class CNN1D(nn.Module):
    """Six stacks, each with its pooling, and two linear layers with dropout between them.

    Args:
        length: Samples in a frame, 64 or more.
        classes: Number of outputs.
    """

    def __init__(self, length: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(1, WIDTH, 1, bias=False), _unit(2), _unit(2)),
            nn.Sequential(nn.MaxPool2d(2), nn.Flatten(2)),
        ]
        for _ in range(STACKS - 1):
            layers.append(nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 1, bias=False), _unit(1), _unit(1)))
            layers.append(nn.MaxPool1d(2))
        self.stacks = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Linear(WIDTH * (length // SHORTEST), HIDDEN), nn.Dropout(DROPOUT))
        self.fc = nn.Linear(HIDDEN, classes)
        self._initialise()

    def _initialise(self) -> None:
        """He initialization (He et al. 2015), scaled after Fixup (Zhang et al. 2019), since nothing normalizes.

        The first convolution of a unit is divided by the root of the number of units; its second one and the classifier
        start at a tenth, where Fixup has zeros, so that the first step already moves every weight.
        """
        units = [module for module in self.modules() if isinstance(module, ResidualUnit)]
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                pointwise = all(size == 1 for size in module.kernel_size)
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if pointwise else "relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.fc.weight *= 0.1
            for unit in units:
                unit.conv1.weight *= len(units) ** -0.5
                unit.conv2.weight *= 0.1

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        x = self.stacks(x.unsqueeze(1))
        logits: Tensor = self.fc(self.hidden(torch.flatten(x, 1)))
        return logits


class CNN1DFamily:
    """Builds the one CNN1D."""

    names = ("cnn1d",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length); the network reads only that length.

        Raises:
            ModelError: The frames do not have the two channels I and Q, or nothing is left of them after six poolings.
        """
        require_iq(name, channels, length, SHORTEST)
        return CNN1D(length, classes)


family = CNN1DFamily()
