"""The synaptic flow through a network (Tanaka et al. 2020, arXiv 2006.05467), which needs no data.

Every weight, bias and statistic is replaced by its magnitude, R is the sum of the outputs for one frame of ones, and
the flow through a parameter w is |∂R/∂w · w|. In double precision, since R of a deep network is far beyond what float32
can hold, and in evaluation mode: in training mode batch norm would take the mean away from outputs that are nearly all
alike, and with it the flow.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.records.pruning import InputSpec


def magnitudes(model: nn.Module) -> dict[str, Tensor]:
    """The magnitude of every parameter and buffer in double precision; whole numbers as they are."""
    return {name: _magnitude(value) for name, value in (*model.named_parameters(), *model.named_buffers())}


def ones(model: nn.Module, shape: InputSpec) -> Tensor:
    """The frame that goes into a network, (1, channels, length), where that is."""
    return beside(model, torch.ones(1, shape.channels, shape.length, dtype=torch.float64))


def synaptic_flow(model: nn.Module, state: Mapping[str, Tensor], shape: InputSpec) -> dict[str, float]:
    """Σ |∂R/∂w · w| over the entries of each parameter; 0 for one that the output does not depend on.

    Args:
        model: The network; left as it is.
        state: Its parameters and buffers as magnitudes, by name, where the network is.
        shape: Shape of its frames.

    Raises:
        ModelError: The flow is beyond double precision.
    """
    weights = {name: state[name].detach().requires_grad_() for name, _ in model.named_parameters()}
    with evaluating(model), torch.enable_grad():
        flow = torch.func.functional_call(model, {**state, **weights}, (ones(model, shape),)).sum()
    require_finite(flow)
    gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
    return {
        name: 0.0 if gradient is None else float((gradient * weight.detach()).abs().sum())
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }


def require_finite(flow: Tensor) -> None:
    """Raise a ModelError for a flow beyond double precision."""
    if not torch.isfinite(flow).all():
        raise ModelError("the network's synaptic flow is beyond double precision", "Use another --criterion")


def _magnitude(value: Tensor) -> Tensor:
    value = value.detach()
    return value.double().abs() if value.is_floating_point() else value.clone()
