"""SynFlow (Tanaka et al. 2020): how much of the signal that can flow through the network flows through a unit. Needs
no data.

Every weight, bias and running statistic is replaced by its magnitude, R is the sum of the outputs for an input of
ones, and a parameter's score is |dR/dw · w|. A unit's score is the sum over the parameters that dropping it would
remove, so a residual unit is judged by its body and not by the shortcut that stays. Computed in double precision on a
copy: R of a deep network is far beyond what float32 can hold.
"""

import torch
from torch import Tensor, nn

from edgeprune.edits import shortcut_of
from edgeprune.errors import ModelError
from edgeprune.modes import evaluating
from edgeprune.records import LayerChain, Unit


class SynFlow:
    """Scores units by the synaptic flow through the parameters they would lose."""

    def scores(self, model: nn.Module, chain: LayerChain, input_shape: tuple[int, int]) -> dict[int, float]:
        """Score every droppable unit.

        Args:
            model: The network; left as it is.
            chain: Its units.
            input_shape: (channels, length) of a frame.

        Raises:
            ModelError: The flow is beyond double precision.
        """
        weights = {name: _magnitude(value).requires_grad_() for name, value in model.named_parameters()}
        statistics = {name: _magnitude(value) for name, value in model.named_buffers()}
        frame = torch.ones(1, *input_shape, dtype=torch.float64)
        with evaluating(model):
            flow = torch.func.functional_call(model, {**weights, **statistics}, (frame,)).sum()
        if not torch.isfinite(flow):
            raise ModelError("the network's synaptic flow is beyond double precision", "Use another --criterion")
        gradients = torch.autograd.grad(flow, list(weights.values()), allow_unused=True)
        flows = {
            name: 0.0 if gradient is None else float((gradient * weight.detach()).abs().sum())
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
        names = {parameter: name for name, parameter in model.named_parameters()}
        return {
            unit.index: sum(flows[names[parameter]] for parameter in lost_parameters(model, unit))
            for unit in chain.units
            if unit.droppable
        }


def _magnitude(value: Tensor) -> Tensor:
    """The magnitudes in double precision, on the CPU; whole numbers as they are."""
    value = value.detach().cpu()
    return value.double().abs() if value.is_floating_point() else value.clone()


def lost_parameters(model: nn.Module, unit: Unit) -> list[nn.Parameter]:
    """The parameters that a network loses with a unit; a shortcut that stays keeps its own."""
    module = model.get_submodule(unit.path)
    kept: set[nn.Parameter] = set()
    if unit.drop == "shortcut":
        kept = set(shortcut_of(module, unit.path, None).parameters())
    return [parameter for parameter in module.parameters() if parameter not in kept]


criterion = SynFlow()
