"""Propagation of the synaptic flow and its growth through a piece of a traced network, from front to back.

Growth, written x', is the derivative with respect to t at t = 0 when every parameter w is (1 + t) w. A layer with
weights is y = f(x) = A x + b, with A and b linear in its parameters; so y' = A x' + (A x + b) = f(x + x').
Every other operation is linear for non-negative values, so y' = f(x').
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

WEIGHTED: tuple[type[nn.Module], ...] = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
MAXIMA: dict[type[nn.Module], Callable[..., Any]] = {
    nn.MaxPool1d: nn.functional.max_pool1d,
    nn.MaxPool2d: nn.functional.max_pool2d,
}


@dataclass(frozen=True)
class Flow:
    """Values at one place of a network for n choices, with their growth.

    Attributes:
        value: Activations for a frame of ones, (n, ...).
        growth: Derivative of the activations when all parameters before them grow at a rate of 1, (n, ...).
    """

    value: Tensor
    growth: Tensor


def carry(module: fx.GraphModule, flow: Flow, state: Mapping[str, Tensor]) -> Flow:
    """Propagate a flow through a piece of the network.

    Args:
        module: The piece; its operations are affine maps without negative coefficients, or maxima.
        flow: Flow that enters the piece.
        state: Magnitudes of its parameters and buffers by name.
    """
    left: Flow = _Carrier(module, state).run(Flow(flow.value.clone(), flow.growth.clone()))  # some work in place
    return left


class _Carrier(fx.Interpreter):
    """Runs a graph on flows."""

    def __init__(self, module: fx.GraphModule, state: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self.state = state
        self.parameters = {name for name, _ in module.named_parameters()}

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        del args, kwargs
        value = self.state[target]
        return Flow(value, value if target in self.parameters else torch.zeros_like(value))

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        if type(module) in MAXIMA:
            return _maximum(module, args[0])
        own = {
            name: self.state[f"{target}.{name}"] for name, _ in (*module.named_parameters(), *module.named_buffers())
        }

        def run(*inputs: Any, **options: Any) -> Any:
            return torch.func.functional_call(module, own, inputs, options)

        if isinstance(module, WEIGHTED):
            return Flow(run(args[0].value), run(args[0].value + args[0].growth))
        return _linear(run, args, kwargs)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _linear(target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        def run(own: Any, *others: Any, **options: Any) -> Any:
            return getattr(own, target)(*others, **options)

        return _linear(run, args, kwargs)


def _linear(run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Apply the operation to values and to growths; anything but a tensor (a shape) is left unchanged."""
    values, options = tree_map_only(Flow, lambda flow: flow.value, (args, kwargs))
    value = run(*values, **options)
    if not isinstance(value, Tensor):
        return value
    growths, options = tree_map_only(Flow, lambda flow: flow.growth, (args, kwargs))
    return Flow(value, run(*growths, **options))


def _maximum(pool: Any, flow: Flow) -> Flow:
    """Take a maximum, which grows as the greatest of its inputs does."""
    value, places = MAXIMA[type(pool)](
        flow.value,
        pool.kernel_size,
        pool.stride,
        pool.padding,
        pool.dilation,
        ceil_mode=pool.ceil_mode,
        return_indices=True,
    )
    return Flow(value, flow.growth.flatten(2).gather(2, places.flatten(2)).reshape(value.shape))
