"""Initial weights, where PyTorch's own do not train well."""

from torch import nn


def he_fan_out(network: nn.Module) -> None:
    """Initialize all convolutions after He et al. 2015 (fan out), their biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he_and_lecun(network: nn.Module) -> None:
    """Initialize all convolutions, which ReLU follows, after He and the linear layers after LeCun; biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            linear = isinstance(module, nn.Linear)
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if linear else "relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def lecun_and_orthogonal(layers: nn.RNNBase) -> None:
    """Draw normal input weights (LeCun et al. 1998) and orthogonal state weights; biases are 0 except at forget gates.

    A frame has two channels, so dividing weights by the number of gates as well (Glorot's) would hardly move the state.
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
