"""MCLDNN (Xu et al. 2020, "A Spatiotemporal Multi-Channel Learning Framework for Automatic Modulation Recognition",
IEEE Wireless Communications Letters).

One convolution reads I and Q together, two read I and Q alone; what they find is joined, and two LSTM layers read it
over time. Paddings are those of the authors' Keras network: `same` puts the odd zero at the end, `causal` all of them
in front.
"""

import torch
from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import he_and_lecun, lecun_and_orthogonal

WIDTH = 50
KERNEL = 8
JOINT_KERNEL = 5
HIDDEN = 128
DROPOUT = 0.5


def _causal() -> nn.Sequential:
    """From one channel (N, 1, L) to (N, 50, L), reading no later sample."""
    return nn.Sequential(nn.ConstantPad1d((KERNEL - 1, 0), 0.0), nn.Conv1d(1, WIDTH, KERNEL), nn.ReLU())


def _same(inputs: int, rows: int) -> nn.Sequential:
    """From (N, C, 2, L) to (N, 50, 2, L) with a kernel of `rows` x 8."""
    before = (KERNEL - 1) // 2
    padding = nn.ZeroPad2d((before, KERNEL - 1 - before, 0, rows - 1))
    return nn.Sequential(padding, nn.Conv2d(inputs, WIDTH, (rows, KERNEL)), nn.ReLU())


class MCLDNN(nn.Module):
    """Three convolutional branches, a convolution over both rows, two LSTM layers, three linear layers.

    Args:
        classes: Number of outputs.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.both = _same(1, rows=2)
        self.in_phase = _causal()
        self.quadrature = _causal()
        self.separate = _same(WIDTH, rows=1)
        self.joint = nn.Sequential(nn.Conv2d(2 * WIDTH, 2 * WIDTH, (2, JOINT_KERNEL)), nn.ReLU())
        self.lstm = nn.LSTM(2 * WIDTH, HIDDEN, num_layers=2, batch_first=True)
        self.hidden1 = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.SELU(), nn.Dropout(DROPOUT))
        self.hidden2 = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.SELU(), nn.Dropout(DROPOUT))
        self.fc = nn.Linear(HIDDEN, classes)
        he_and_lecun(self)
        lecun_and_orthogonal(self.lstm)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        rows = torch.stack((self.in_phase(x[:, :1]), self.quadrature(x[:, 1:])), dim=2)
        maps = torch.cat((self.both(x.unsqueeze(1)), self.separate(rows)), dim=1)
        steps = self.joint(maps).squeeze(2).transpose(1, 2)
        states, _ = self.lstm(steps)
        logits: Tensor = self.fc(self.hidden2(self.hidden1(states[:, -1])))
        return logits


class MCLDNNFamily:
    """Builds the one MCLDNN."""

    names = ("mcldnn",)

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build it for frames (N, 2, length).

        Raises:
            ModelError: The frames do not have the two channels I and Q, or are shorter than the unpadded kernel.
        """
        require_iq(name, channels, length, JOINT_KERNEL)
        return MCLDNN(classes)


family = MCLDNNFamily()
