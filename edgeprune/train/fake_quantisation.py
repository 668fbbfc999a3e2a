"""Fake quantization: a network computes as its int8 export will, so that training can compensate for the rounding.

Weights and inputs of convolutions and linear layers are rounded to eight bits: symmetric, with one scale for each
output channel of a weight and one for an input, from the largest magnitude in the batch. A batch norm behind a
convolution scales its output channels, so merging it changes nothing. Gradients pass the rounding unchanged
(straight-through estimator, Bengio et al. 2013).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgeprune.errors import ModelError

LARGEST = 127
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
_QUANTISED = (nn.Conv1d, nn.Conv2d, *_TRANSPOSED, nn.Linear)
_SMALLEST_SCALE = 1e-12


class RoundedWeight(nn.Module):
    """Rounds a weight to eight bits.

    Args:
        axis: Axis of its output channels.
    """

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        """Round the weight; the shape is kept."""
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        scale = _scale(weight.detach().float().abs().amax(dim=others))
        zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        rounded: Tensor = torch.fake_quantize_per_channel_affine(
            weight.float(), scale, zeros, self.axis, -LARGEST, LARGEST
        )
        return rounded


def rounded_input(values: Tensor) -> Tensor:
    """Round a tensor of any shape to eight bits."""
    scale = _scale(values.detach().float().abs().amax())
    zero = torch.zeros((), dtype=torch.int32, device=values.device)
    rounded: Tensor = torch.fake_quantize_per_tensor_affine(values.float(), scale, zero, -LARGEST, LARGEST)
    return rounded


@contextmanager
def fake_quantised(model: nn.Module) -> Iterator[None]:
    """Let a network compute as in int8 inside the `with` block; afterwards its weights are float32, as trained.

    A weight that the network computes itself (a parametrization, weight norm by hooks) is rounded after that
    computation, which is restored at the end.

    Raises:
        ModelError: It has neither a convolution nor a linear layer.
    """
    modules = [module for module in model.modules() if isinstance(module, _QUANTISED)]
    if not modules:
        raise ModelError("the network has no convolution or linear layer to train for int8")
    with ExitStack() as stack:
        for module in modules:
            rounding = RoundedWeight(1 if isinstance(module, _TRANSPOSED) else 0)
            stack.callback(_round_weight(module, rounding))
            stack.callback(module.register_forward_pre_hook(_round_inputs).remove)
        yield


def _round_weight(module: nn.Module, rounding: RoundedWeight) -> Callable[[], object]:
    """Round a weight whenever it is used; returns a function that ends this and keeps other parametrizations."""
    if parametrize.is_parametrized(module, "weight"):
        own: Any = module.parametrizations["weight"]  # type: ignore[index]
        own.append(rounding)
        return partial(own.__delitem__, len(own) - 1)
    if "weight" in module._parameters:
        parametrize.register_parametrization(module, "weight", rounding)
        return partial(parametrize.remove_parametrizations, module, "weight", leave_parametrized=False)

    def round_computed(_: nn.Module, __: object) -> None:
        module.weight = rounding(module.weight)

    return module.register_forward_pre_hook(round_computed).remove


def _round_inputs(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (rounded_input(inputs[0]), *inputs[1:])


def _scale(largest: Tensor) -> Tensor:
    return (largest / LARGEST).clamp_min(_SMALLEST_SCALE)
