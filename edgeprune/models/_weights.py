"""First weights, where PyTorch's own are not what a network trains well from."""

from torch import nn


def he_fan_out(network: nn.Module) -> None:
    """He initialisation (He et al. 2015, fan out) of all convolutions, their biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def he_and_lecun(network: nn.Module) -> None:
    """He initialisation of all convolutions, which ReLU follows; LeCun's of the linear layers; biases at zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            linear = isinstance(module, nn.Linear)
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear" if linear else "relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def lecun_and_orthogonal(layers: nn.RNNBase) -> None:
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
