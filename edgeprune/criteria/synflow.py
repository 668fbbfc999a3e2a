"""SynFlow (Tanaka et al. 2020): how much of the signal that can flow through the network flows through a unit. Needs
no data.

Every weight, bias and running statistic is replaced by its magnitude, R is the sum of the outputs for an input of
ones, and a parameter's score is |dR/dw · w|. A unit's score is the sum over the parameters that dropping it would
remove, so a residual unit is judged by its body and not by the shortcut that stays. Computed in double precision on a
copy: R of a deep network is far beyond what float32 can hold.
"""

import copy

import torch
from torch import nn

from edgeprune.edits import shortcut_of
from edgeprune.errors import ModelError
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
        positive = copy.deepcopy(model).cpu().double().eval()
        with torch.no_grad():
            for value in positive.state_dict().values():
                if value.is_floating_point():
                    value.abs_()
        for parameter in positive.parameters():
            parameter.requires_grad_(True)
        flow = positive(torch.ones(1, *input_shape, dtype=torch.float64)).sum()
        flow.backward()
        if not torch.isfinite(flow):
            raise ModelError("the network's synaptic flow is beyond double precision", "Use another --criterion")
        return {
            unit.index: sum(_flow(parameter) for parameter in lost_parameters(positive, unit))
            for unit in chain.units
            if unit.droppable
        }


def lost_parameters(model: nn.Module, unit: Unit) -> list[nn.Parameter]:
    """The parameters that a network loses with a unit; a shortcut that stays keeps its own."""
    module = model.get_submodule(unit.path)
    kept: set[nn.Parameter] = set()
    if unit.drop == "shortcut":
        kept = set(shortcut_of(module, unit.path, None).parameters())
    return [parameter for parameter in module.parameters() if parameter not in kept]


def _flow(parameter: nn.Parameter) -> float:
    """Sum of |dR/dw · w| over a parameter tensor."""
    if parameter.grad is None:
        return 0.0
    return float((parameter.grad * parameter.detach()).abs().sum())


criterion = SynFlow()
