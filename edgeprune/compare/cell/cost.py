"""Cost of a network for one frame: parameters, multiply-accumulates, and FLOPs as the paper counts them."""

import torch
from torch import nn

from edgeprune.compare.document import Cost
from edgeprune.network.compute import host_copy
from edgeprune.prune.channels.allotment import macs_of
from edgeprune.records.pruning import InputSpec


@torch.no_grad()
def cost_of(model: nn.Module, shape: InputSpec) -> Cost:
    """Count the cost of a network for one frame; the network is not changed.

    In evaluation mode, thop adds two operations for each output of batch norm to the multiply-accumulates. The
    published tables are in that unit.

    Args:
        model: Takes normalized frames (N, channels, length).
        shape: Shape of its frames.

    Raises:
        ModelError: Its multiply-accumulates cannot be counted.
    """
    counted = host_copy(model).eval()
    outputs = 0

    def add(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    for module in counted.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(add)
    counted(torch.zeros(1, shape.channels, shape.length))
    macs = macs_of(model, shape)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), macs, macs + 2 * outputs)
