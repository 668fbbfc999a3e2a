"""Re-initialisation of a trained network, without knowing how it was built."""

import torch
from torch import nn

from edgeprune.network.compute import host_copy, put_beside
from edgeprune.network.running import seeded


@torch.no_grad()
def fresh(model: nn.Module, seed: int) -> nn.Module:
    """Copy a network with new weights.

    Every module with a `reset_parameters` method is reset by it; for batch norm this resets the running statistics too.
    All other parameters are drawn from the normal distribution with their own mean and variance. Everything is drawn on
    the CPU, so that the weights do not depend on where the network is. The state of the global random number generators
    is left unchanged.

    Args:
        model: The network; left unchanged.
        seed: Seed of the new weights.
    """
    renewed = host_copy(model)
    with seeded(seed):
        for module in renewed.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                parameter.copy_(parameter.mean() + parameter.std(correction=0) * torch.randn_like(parameter))
    return put_beside(model, renewed)
