"""Recurrent networks over the samples of a frame, in the form of Rajendran et al. (2018, IEEE TCCN): two layers of
LSTM or GRU, and a linear layer on the last state.
"""

from torch import Tensor, nn

from edgeprune.models._frames import require_iq
from edgeprune.models._weights import lecun_and_orthogonal

LAYERS = 2
LSTM_HIDDEN = 128
GRU_HIDDEN = 64


class RecurrentNetwork(nn.Module):
    """Two recurrent layers over time and a linear layer on what the last sample leaves.

    Args:
        recurrent: Both layers; reads (N, L, 2).
        classes: Number of outputs.
    """

    def __init__(self, recurrent: nn.LSTM | nn.GRU, classes: int) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.fc = nn.Linear(recurrent.hidden_size, classes)
        lecun_and_orthogonal(recurrent)

    def forward(self, x: Tensor) -> Tensor:
        """Classify frames (N, 2, L) into logits (N, classes)."""
        states, _ = self.recurrent(x.transpose(1, 2))
        logits: Tensor = self.fc(states[:, -1])
        return logits


class RecurrentFamily:
    """Builds the two recurrent networks."""

    names = ("lstm2", "gru2")

    def build(self, name: str, channels: int, length: int, classes: int) -> nn.Module:
        """Build one for frames (N, 2, length); any length works.

        Raises:
            ModelError: The frames do not have the two channels I and Q.
        """
        require_iq(name, channels, length)
        if name == "lstm2":
            return RecurrentNetwork(nn.LSTM(channels, LSTM_HIDDEN, LAYERS, batch_first=True), classes)
        return RecurrentNetwork(nn.GRU(channels, GRU_HIDDEN, LAYERS, batch_first=True), classes)


family = RecurrentFamily()
