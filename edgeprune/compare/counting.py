"""What a network takes for one frame: parameters, multiply-accumulates, and FLOPs as the paper counts them."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.compare.document import Cost
from edgeprune.modes import countable
from edgeprune.records import InputSpec


@torch.no_grad()
def cost_of(model: nn.Module, shape: InputSpec) -> Cost:
    """Run one frame of zeros through a copy of a network and count.

    Multiply-accumulates are PyTorch's own count of convolutions and matrix products, halved; no fused kernels are used
    meanwhile, for they hide their products. Two operations for each output of batch norm are what thop adds in
    evaluation mode; the published tables are in that unit.

    Args:
        model: Takes normalised frames (N, channels, length).
        shape: Of its frames.
    """
    counted = copy.deepcopy(model).cpu().eval()
    outputs = 0

    def add(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    for module in counted.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_hook(add)
    with countable(), FlopCounterMode(display=False) as counter:
        counted(torch.zeros(1, shape.channels, shape.length))
    macs = counter.get_total_flops() // 2
    return Cost(sum(parameter.numel() for parameter in model.parameters()), macs, macs + 2 * outputs)
