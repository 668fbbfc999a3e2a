"""Recurrent networks over the samples of a frame, in the form of Rajendran et al. (2018, IEEE TCCN): two layers of
LSTM or GRU, and a linear layer on the last state.
"""

from torch import Tensor, nn

from edgeprune.errors import ModelError

LAYERS = 2
LSTM_HIDDEN = 128
GRU_HIDDEN = 64


def initialise_recurrent(layers: nn.RNNBase) -> None:
    """Normal weights from the input (LeCun et al. 1998), orthogonal ones from the state, biases 0 but at forget gates.

    A frame has two channels, so weights scaled by the number of gates as well (Glorot's) would hardly move the state.
    The forget gate of an LSTM starts open at 1 (Jozefowicz et al. 2015): the gradient reaches the first samples.
    """
    for name, weight in layers.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.kaiming_normal_(weight, nonlinearity="linear")
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(weight)
        else:
            nn.init.zeros_(weight)
        if name.startswith("bias_ih") and isinstance(layers, nn.LSTM):
            nn.init.ones_(weight[layers.hidden_size : 2 * layers.hidden_size])


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
        initialise_recurrent(recurrent)

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
        del length
        if channels != 2:
            raise ModelError(f"{name} takes 2 channels (I and Q), not {channels}")
        if name == "lstm2":
            return RecurrentNetwork(nn.LSTM(channels, LSTM_HIDDEN, LAYERS, batch_first=True), classes)
        return RecurrentNetwork(nn.GRU(channels, GRU_HIDDEN, LAYERS, batch_first=True), classes)


family = RecurrentFamily()
