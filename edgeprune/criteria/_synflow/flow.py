"""Synaptic flow through a network (Tanaka et al. 2020, arXiv 2006.05467), which needs no data.

Every weight, bias and statistic is replaced by its magnitude, R is the sum of the outputs for one frame of ones, and
the flow through a parameter w is |∂R/∂w · w|. It is computed in double precision, because R of a deep network far
exceeds float32, and in evaluation mode: in training mode batch norm would subtract the mean from outputs that are
nearly equal, and the flow with it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.network.compute import beside
from edgeprune.network.running import evaluating
from edgeprune.records.pruning import InputSpec


def magnitudes(model: nn.Module) -> dict[str, Tensor]:
    """Magnitude of every parameter and buffer in double precision; integers are left unchanged."""
    return {name: _magnitude(value) for name, value in (*model.named_parameters(), *model.named_buffers())}


def ones(model: nn.Module, shape: InputSpec) -> Tensor:
    """Frame of ones for a network, (1, channels, length), on the network's device."""
    return beside(model, torch.ones(1, shape.channels, shape.length, dtype=torch.float64))


def synaptic_flow(model: nn.Module, state: Mapping[str, Tensor], shape: InputSpec) -> dict[str, float]:
    """Compute Σ |∂R/∂w · w| over the entries of each parameter; 0 if the output does not depend on it.

    Args:
        model: The network; left unchanged.
        state: Magnitudes of its parameters and buffers by name, on the network's device.
        shape: Shape of its frames.

    Raises:
        ModelError: The flow exceeds double precision.
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
    """Raise a ModelError for a flow that exceeds double precision."""
    if not torch.isfinite(flow).all():
        raise ModelError("the network's synaptic flow is beyond double precision", "Use another `criterion`")


def _magnitude(value: Tensor) -> Tensor:
    value = value.detach()
    return value.double().abs() if value.is_floating_point() else value.clone()
