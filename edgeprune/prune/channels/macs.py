"""Multiply-accumulates of a network, and their number at other widths."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.errors import ModelError, reason_of
from edgeprune.network.compute import shapes_copy
from edgeprune.network.widths import Size, is_channelwise, sizes_of
from edgeprune.records.pruning import InputSpec


def macs_of(model: nn.Module, shape: InputSpec) -> int:
    """Count the multiply-accumulates of a network for one frame, by PyTorch's own formulas, from shapes alone.

    Raises:
        ModelError: It does not run on PyTorch's meta device.
    """
    return macs_by_module(model, shape)[""]


def macs_by_module(model: nn.Module, shape: InputSpec) -> dict[str, int]:
    """Count them for every module, by its path; '' is the network. A module without any may be missing.

    Raises:
        ModelError: It does not run on PyTorch's meta device.
    """
    shapes = shapes_copy(model).eval()
    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            shapes(torch.zeros(1, shape.channels, shape.length))
    except Exception as error:  # the network's own code
        raise ModelError(f"the cost of the network cannot be counted: {reason_of(error)}") from error
    root = type(model).__name__
    named = {name.removeprefix(f"{root}."): flops for name, flops in counter.get_flop_counts().items() if name != root}
    return {**{path: sum(flops.values()) // 2 for path, flops in named.items()}, "": counter.get_total_flops() // 2}


def macs_resized(module: nn.Module, macs: int, size: Size) -> int:
    """Multiply-accumulates of a resized module: they grow with its weights.

    Args:
        module: Module before resizing.
        macs: Multiply-accumulates before resizing.
        size: New size.
    """
    old = sizes_of(module)[""]
    return macs * _weights(module, size) // _weights(module, old) if macs else 0


def _weights(module: nn.Module, size: Size) -> int:
    """Number of weights that are multiplied, up to a factor that does not depend on the size."""
    if isinstance(module, nn.RNNBase):
        weights = {name: weight for name, weight in module.named_parameters() if weight.dim() > 1}
        reading = sum(len(weight) for name, weight in weights.items() if name.startswith("weight_ih_l0"))
        return sum(weight.numel() for weight in weights.values()) + reading * (size[0] - module.input_size)
    return size[1] if is_channelwise(module) else size[0] * size[1]
